package netup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"netstage/netup/ipparam"
)

// way is how a session comes by addresses of one family, IPv4 or IPv6: those
// that are given, or those that a server or router gives.
type way struct {
	*session
	family family
	static []Lease
	entry  ipparam.Entry // where the address is not given
	moves  bool

	guard *guard
}

// ways are those of a session's link.
func (s *session) ways() []*way {
	var out []*way
	for _, f := range []family{ipv4, ipv6} {
		w := &way{
			session: s, family: f, static: s.n.plan.static(s.l, s.name, f),
			guard: &guard{index: s.l.index, name: s.name, mac: s.l.mac, log: s.n.log},
		}
		w.entry, w.moves = dynamic(s.l.entries, f)
		// A link that was found configured is used as it is.
		if f == ipv6 && s.l.found.lease != nil && w.entry.Method == ipparam.Any {
			continue
		}
		if f == ipv6 && w.moves && w.entry.Method == ipparam.Any && !s.n.hasIPv6(s.name) {
			continue
		}
		if w.moves || len(w.static) > 0 {
			out = append(out, w)
		}
	}
	return out
}

func (w *way) run() {
	if !w.fixed() {
		return
	}
	if !w.moves {
		w.n.leased(w.l, w.family, &w.static[0], "static")
		w.n.log.Info(fmt.Sprintf("%s: %s as given", w.name, w.static[0]))
		w.contend(w.ctx)
		<-w.ctx.Done()
		return
	}
	if w.family == ipv4 && w.l.found.lease != nil {
		l := w.n.plan.amend(*w.l.found.lease, w.entry)
		l.Acquired, l.Took = time.Now(), time.Since(w.start)
		w.n.log.Info(fmt.Sprintf("%s: already configured: %s", w.name, l))
		w.n.leased(w.l, w.family, &l, "configured")
		w.contend(w.ctx)
		<-w.ctx.Done()
		return
	}
	hint := netip.Addr{}
	if w.family == ipv4 {
		hint = w.l.found.hint
	}
	if had := w.n.leaseOf(w.l, w.family); had != nil {
		hint = had.Addr.Addr()
	}
	start := w.start
	for w.ctx.Err() == nil {
		w.hold(w.client(), hint, start)
		hint, start = netip.Addr{}, time.Now()
	}
}

// fixed configures the addresses the operator gave; false means that the
// session is over.
func (w *way) fixed() bool {
	tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(w.l.mac)}
	for _, l := range w.static {
		for {
			if !w.n.mayConfigure(w.l) {
				return false
			}
			err := w.configure(l)
			if err == nil {
				break
			}
			w.n.log.Warn(fmt.Sprintf("%v", err))
			w.n.note(w.l, w.family, "", 0, err.Error())
			if pause(w.ctx, tries.next()) != nil {
				return false
			}
		}
	}
	return true
}

// client finds an address and keeps it.
type client interface {
	// acquire returns a lease or the end of ctx; see dhcp4.acquire.
	acquire(ctx context.Context, hint netip.Addr) (Lease, func(), error)
	// renew returns when the lease has changed or is lost.
	renew(ctx context.Context, l Lease) (Lease, error)
}

func (w *way) client() client {
	amend := func(l Lease) Lease { return w.n.plan.amend(l, w.entry) }
	note := func(state string, sent int) { w.n.note(w.l, w.family, state, sent, "") }
	rng := newRand(w.l.mac)
	if w.family == ipv6 {
		return &autoconf6{
			index: w.l.index, name: w.name, mac: w.l.mac, log: w.n.log, rng: rng,
			kernel: w.n.kernel, running: w.isRunning, amend: amend, note: note, always: w.entry.Method == ipparam.DHCP6,
			dhcp: &client6{
				name: w.name, mac: w.l.mac, user: w.n.opts.UserClass, host: w.entry.Hostname,
				log: w.n.log, rng: newRand(w.l.mac), running: w.isRunning, note: note, guard: w.guard, life: w.ctx,
			},
		}
	}
	return &dhcp4{
		port: &w.n.dhcp, host: w.entry.Hostname, clientID: w.entry.ClientID, amend: amend, note: note,
		index: w.l.index, name: w.name, mac: w.l.mac,
		vendor: w.n.opts.VendorClass, user: w.n.opts.UserClass,
		log: w.n.log, rng: rng, running: w.isRunning, guard: w.guard,
	}
}

// hold gets a lease and keeps it as long as a server and the context allow.
func (w *way) hold(c client, hint netip.Addr, start time.Time) {
	l, closer, err := c.acquire(w.ctx, hint)
	w.tail.Go(closer)
	if err != nil {
		return
	}
	l.Took = time.Since(start)
	if !w.n.mayConfigure(w.l) {
		return
	}
	if err := w.configure(l); err != nil {
		w.n.log.Warn(fmt.Sprintf("%v", err))
		w.n.note(w.l, w.family, "", 0, err.Error())
		_ = pause(w.ctx, time.Second)
		return
	}
	w.n.leased(w.l, w.family, &l, bound)
	w.n.log.Info(fmt.Sprintf("%s: %s in %s", w.name, l, millis(l.Took)))

	ctx, cancel := context.WithCancel(w.ctx)
	var proof sync.WaitGroup
	proof.Go(func() { w.contend(ctx) })
	err = w.keep(c, l)
	cancel()
	proof.Wait()
	if w.ctx.Err() != nil {
		return // the address stays; the next session asks for it again
	}
	w.n.log.Warn(fmt.Sprintf("%s: %v, starting over", w.name, err))
	w.n.leased(w.l, w.family, nil, "")
	family := w.family.netlink()
	if flushed := errors.Join(w.n.kernel.flushRoutes(w.l.index, w.name, family), w.n.kernel.flushAddrs(w.l.index, w.name, family)); flushed != nil {
		w.n.log.Warn(fmt.Sprintf("%v", flushed))
	}
	if w.family == ipv4 {
		w.l.had = nil
	}
	if errors.As(err, new(*conflictError)) {
		_ = pause(w.ctx, declinePause)
	}
}

// configure puts a lease on the link, in the place of what the way had there.
func (w *way) configure(l Lease) error {
	put, before := l, w.n.leaseOf(w.l, w.family)
	switch {
	case w.family == ipv6 && w.entry.MTU == 0 && w.moves:
		put.MTU = 0 // a router's is IPv6's alone (RFC 4861 section 6.3.4)
		w.n.setMTU6(w.l, l.MTU)
	case !w.n.newMTU(w.l, l.MTU):
		put.MTU = 0
	}
	var had []netip.Prefix
	if w.family == ipv4 {
		had = w.l.had
	}
	if err := w.n.kernel.configure(put, w.l.metric, w.static, had); err != nil {
		return err
	}
	if put.MTU != 0 {
		w.n.setMTU6(w.l, 0) // the kernel has forgotten it
	}
	if before != nil && len(w.static) == 0 {
		if err := w.n.kernel.withdraw(*before, l, w.l.metric, nil); err != nil {
			w.n.log.Warn(fmt.Sprintf("%v", err))
		}
	}
	if w.family == ipv4 {
		w.l.had = []netip.Prefix{l.Addr}
		for _, l := range w.static {
			w.l.had = append(w.l.had, l.Addr)
		}
	}
	return nil
}

// keep renews the lease for ever; it returns why it is lost.
func (w *way) keep(c client, l Lease) error {
	for {
		next, err := c.renew(w.ctx, l)
		if err != nil {
			return err
		}
		next.Took = l.Took
		if err := w.configure(next); err != nil {
			return err
		}
		if next.says(l) && (next.Source == "ra" || next.Acquired.Equal(l.Acquired)) { // routers repeat themselves
			w.n.log.Debug(fmt.Sprintf("%s: %s advertised again, for %s", w.name, next.Addr, next.Time.Round(time.Second)))
		} else {
			w.n.log.Info(fmt.Sprintf("%s: lease of %s renewed for %s", w.name, next.Addr, next.Time.Round(time.Second)))
		}
		w.n.leased(w.l, w.family, &next, bound)
		l = next
	}
}

// contend makes the link the winner once the lease is proven, or good enough
// where nothing proves it.
func (w *way) contend(ctx context.Context) {
	n := w.n
	select {
	case <-n.won:
		return
	default:
	}
	if n.opts.Prove == nil {
		if l := n.leaseOf(w.l, w.family); l.demoted() && (l.Addr.Addr().IsLinkLocalUnicast() || !n.alone()) {
			n.note(w.l, w.family, "waiting for a better lease", 0, "")
			n.log.Info(fmt.Sprintf("%s: %s leads nowhere, waiting %s for a better lease", w.name, l.Addr, n.opts.Grace))
			if pause(ctx, n.opts.Grace) != nil {
				return
			}
		}
		n.settle(w.l, w.family)
		return
	}
	tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(w.l.mac)}
	for {
		l, news := n.view(w.l, w.family)
		if l == nil {
			return
		}
		n.note(w.l, w.family, "proving the path", tries.n+1, "")
		err := n.prove(ctx, *l)
		if err == nil {
			n.settle(w.l, w.family)
			return
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-n.won: // by the other family: a lease is enough now
			n.note(w.l, w.family, bound, 0, "")
			return
		default:
		}
		n.unproven(w.l, err)
		again := time.NewTimer(tries.next())
		select {
		case <-ctx.Done():
		case <-n.won:
		case <-news: // the other family's lease may name the DNS servers
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *Network) prove(ctx context.Context, l Lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.opts.ProveTimeout, errors.New("proof of the path timed out"))
	var won sync.WaitGroup
	defer won.Wait()
	defer cancel()
	won.Go(func() {
		select {
		case <-n.won:
			cancel()
		case <-ctx.Done():
		}
	})
	return n.opts.Prove(ctx, l)
}

// settle ends the race in favour of a lease of l, unless it is over.
func (n *Network) settle(l *link, f family) {
	if n.win(l, f) {
		n.note(l, f, bound, 0, "")
	}
}
