package netup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"netstage/netup/internal/acd"
	"netstage/netup/internal/dhcp4"
	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/plan"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/rtnl"
	"netstage/netup/internal/slaac"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// familyClient is how a session comes by addresses of one family, IPv4 or IPv6:
// those that are given, or those that a server or router gives.
type familyClient struct {
	*session
	family  lease.Family
	static  []lease.Lease
	entry   ipparam.Entry // where the address is not given
	dynamic bool

	acd   *acd.Detector
	tries *retry.Backoff // of the proof

	gatewaysLeft int         // to try before other servers are
	searches     int         // for other servers, in vain
	searchAfter  time.Time   // for those
	searching    atomic.Bool // for another server, while the lease is held
}

// clients are those of a session's link.
func (s *session) clients() []*familyClient {
	var out []*familyClient
	for _, f := range []lease.Family{lease.V4, lease.V6} {
		c := &familyClient{
			session: s, family: f, static: s.n.plan.Static(s.l.blank(), s.l.entries, f),
			acd:   &acd.Detector{Index: s.l.index, MAC: s.l.mac, Log: s.log},
			tries: retry.New(time.Second, 8*time.Second, retry.Rand(s.l.mac)),
		}
		c.entry, c.dynamic = plan.Dynamic(s.l.entries, f)
		// A link that was found configured is used as it is.
		if f == lease.V6 && s.l.existing.Lease != nil && c.entry.Method == ipparam.Any {
			continue
		}
		if f == lease.V6 && c.dynamic && c.entry.Method == ipparam.Any && !rtnl.HasIPv6(s.log, s.name) {
			continue
		}
		if c.dynamic || len(c.static) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// run gives the link its addresses of the family until the session ends.
func (c *familyClient) run() {
	if !c.configureStatic() {
		return
	}
	if !c.dynamic {
		c.n.board.leased(c.l, c.family, &c.static[0], "static")
		c.log.Info(c.static[0].String() + " as given")
		c.checkConnectivity(c.ctx, false)
		<-c.ctx.Done()
		return
	}
	if c.family == lease.V4 && c.l.existing.Lease != nil {
		l := c.n.plan.Amend(*c.l.existing.Lease, c.entry)
		l.Acquired, l.Took = time.Now(), time.Since(c.start)
		c.log.Info("already configured: " + l.String())
		c.n.board.leased(c.l, c.family, &l, "configured")
		c.checkConnectivity(c.ctx, false)
		<-c.ctx.Done()
		return
	}
	hint := netip.Addr{}
	if c.family == lease.V4 {
		hint = c.l.existing.Hint
	}
	if had := c.n.board.leaseOf(c.l, c.family); had != nil {
		hint = had.Addr.Addr()
	}
	start := c.start
	for c.ctx.Err() == nil {
		c.acquireAndKeep(c.protocol(), hint, start)
		hint, start = netip.Addr{}, time.Now()
	}
}

// configureStatic configures the addresses that the operator gave; false means
// that the session is over.
func (c *familyClient) configureStatic() bool {
	tries := retry.New(time.Second, 8*time.Second, retry.Rand(c.l.mac))
	for _, l := range c.static {
		for {
			if !c.n.board.mayConfigure(c.l) {
				return false
			}
			err := c.configure(l)
			if err == nil {
				break
			}
			c.log.Warn(err.Error())
			c.n.board.note(c.l, c.family, "", 0, err.Error())
			if retry.Pause(c.ctx, tries.Next()) != nil {
				return false
			}
		}
	}
	return true
}

// protocol finds an address and keeps it.
type protocol interface {
	// Acquire returns a lease or the end of ctx; see dhcp4.Client.
	Acquire(ctx context.Context, hint netip.Addr) (lease.Lease, func(), error)
	// Another returns another lease where one led nowhere, and what closes the
	// conversation that led to it.
	Another(ctx context.Context, l lease.Lease) (lease.Lease, func(), bool)
	// Renew returns when the lease has changed or is lost.
	Renew(ctx context.Context, l lease.Lease) (lease.Lease, error)
}

// protocol is the client of the protocol that finds the family's address.
func (c *familyClient) protocol() protocol {
	amend := func(l lease.Lease) lease.Lease { return c.n.plan.Amend(l, c.entry) }
	note := func(state string, sent int) {
		if c.searching.Load() {
			state = linktable.Looking
		}
		c.n.board.note(c.l, c.family, state, sent, "")
	}
	rejected := func(why string) { c.n.board.rejected(c.l, c.family, why) }
	rng := retry.Rand(c.l.mac)
	if c.family == lease.V6 {
		return &slaac.Client{
			Index: c.l.index, Name: c.name, MAC: c.l.mac, Log: c.log, Rand: rng,
			Kernel: c.l.kernel, Running: c.isRunning, Amend: amend, Note: note, Always: c.entry.Method == ipparam.DHCP6,
			DHCP: &dhcp6.Client{
				Name: c.name, MAC: c.l.mac, User: c.n.opts.UserClass, Host: cmp.Or(c.entry.Hostname, c.n.opts.HostName),
				Log: c.log, Rand: retry.Rand(c.l.mac), Running: c.isRunning, Note: note, ACD: c.acd, Life: c.ctx, Rejected: rejected,
			},
		}
	}
	return &dhcp4.Client{
		Port: &c.n.dhcp, Host: cmp.Or(c.entry.Hostname, c.n.opts.HostName), ClientID: c.entry.ClientID, Amend: amend, Note: note,
		Index: c.l.index, Name: c.name, MAC: c.l.mac,
		Vendor: c.n.opts.VendorClass, User: c.n.opts.UserClass,
		Log: c.log, Rand: rng, Running: c.isRunning, ACD: c.acd, BOOTP: c.entry.BOOTP,
		Rejected: rejected,
	}
}

// acquireAndKeep gets a lease and keeps it as long as a server and the context
// allow.
func (c *familyClient) acquireAndKeep(p protocol, hint netip.Addr, start time.Time) {
	l, closer, err := p.Acquire(c.ctx, hint)
	c.tail.Go(closer)
	if err != nil {
		return
	}
	l.Took = time.Since(start)
	if !c.n.board.mayConfigure(c.l) {
		return
	}
	if err := c.configure(l); err != nil {
		c.log.Warn(err.Error())
		c.n.board.note(c.l, c.family, "", 0, err.Error())
		_ = retry.Pause(c.ctx, time.Second)
		return
	}
	c.n.board.leased(c.l, c.family, &l, linktable.Bound)
	c.log.Info(l.String() + " in " + millis(l.Took))

	for {
		ctx, cancel := context.WithCancel(c.ctx)
		failed := false
		var proof sync.WaitGroup
		proof.Go(func() {
			if failed = !c.checkConnectivity(ctx, true); failed {
				cancel()
			}
		})
		l, err = c.renew(ctx, p, l)
		cancel()
		proof.Wait()
		if !failed || c.ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			break
		}
		if l, err = c.failOver(p, l); err != nil {
			break
		}
	}
	if c.ctx.Err() != nil {
		return // the address stays; the next session asks for it again
	}
	c.log.Warn(err.Error() + ", starting over")
	c.n.board.leased(c.l, c.family, nil, "")
	af := c.family.AF()
	if flushed := errors.Join(c.l.kernel.FlushRoutes(af), c.l.kernel.FlushAddrs(af)); flushed != nil {
		c.log.Warn(flushed.Error())
	}
	if c.family == lease.V4 {
		c.l.had = nil
	}
	if errors.As(err, new(*acd.ConflictError)) {
		_ = retry.Pause(c.ctx, dhcp4.DeclinePause)
	}
}

// configure puts a lease on the link, in the place of what the link had there.
func (c *familyClient) configure(l lease.Lease) error {
	put, before := l, c.n.board.leaseOf(c.l, c.family)
	switch {
	case c.family == lease.V6 && c.entry.MTU == 0 && c.dynamic:
		put.MTU = 0 // a router's is IPv6's alone (RFC 4861 section 6.3.4)
		c.setMTU6(l.MTU)
	case !c.n.board.newMTU(c.l, l.MTU):
		put.MTU = 0
	}
	var had []netip.Prefix
	if c.family == lease.V4 {
		had = c.l.had
	}
	if err := c.l.kernel.Configure(put, c.l.metric, c.static, had); err != nil {
		return err
	}
	if put.MTU != 0 {
		c.setMTU6(0) // the kernel has forgotten it
	}
	if before != nil && len(c.static) == 0 {
		if err := c.l.kernel.Withdraw(*before, l, c.l.metric, nil); err != nil {
			c.log.Warn(err.Error())
		}
	}
	if c.family == lease.V4 {
		c.l.had = []netip.Prefix{l.Addr}
		for _, l := range c.static {
			c.l.had = append(c.l.had, l.Addr)
		}
	}
	return nil
}

// renew renews the lease for ever; it returns the last one, and why it is lost.
func (c *familyClient) renew(ctx context.Context, p protocol, l lease.Lease) (lease.Lease, error) {
	for {
		next, err := p.Renew(ctx, l)
		if err != nil {
			return l, err
		}
		next = next.By(l.Gateway()) // which the proof may have chosen
		next.Took = l.Took
		if err := c.configure(next); err != nil {
			return l, err
		}
		if next.Says(l) && (next.Source == "ra" || next.Acquired.Equal(l.Acquired)) { // routers repeat themselves
			c.log.Debug(fmt.Sprintf("%s advertised again, for %s", next.Addr, next.Time.Round(time.Second)))
		} else {
			c.log.Info(fmt.Sprintf("lease of %s renewed for %s", next.Addr, next.Time.Round(time.Second)))
		}
		c.n.board.leased(c.l, c.family, &next, linktable.Bound)
		l = next
	}
}

// millis is a duration for people.
func millis(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

// setMTU6 sets the MTU that IPv6 alone has on a link, to that which a router
// said last, where mtu is 0.
func (c *familyClient) setMTU6(mtu int) {
	l := c.l
	c.n.board.mu.Lock()
	if mtu != 0 {
		l.mtu6 = mtu
	}
	mtu = l.mtu6
	c.n.board.mu.Unlock()
	if mtu == 0 {
		return
	}
	rtnl.SetMTU6(c.log, c.n.opts.Sysfs, l.name, mtu)
}
