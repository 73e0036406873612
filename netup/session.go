package netup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
)

// session is one stretch of carrier on one link: DHCP, configuration, proof,
// renewal. It ends with the carrier, the race, or the Network.
type session struct {
	n      *Network
	l      *link
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	start  time.Time
	// isRunning ends when the kernel says that the link is running; running
	// ends it.
	isRunning context.Context
	running   context.CancelFunc
	over      chan struct{} // closed when the session touches the link no more
	done      chan struct{} // closed when its sockets are closed too
	tail      sync.WaitGroup
}

// newSession starts a session on a link that has carrier.
func (n *Network) newSession(l *link, before *session) *session {
	s := &session{n: n, l: l, name: l.name, start: time.Now(), over: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(l.ctx)
	s.isRunning, s.running = context.WithCancel(s.ctx)
	go func() {
		defer close(s.done)
		defer s.cancel()
		defer s.tail.Wait()
		if before != nil {
			s.tail.Go(func() { <-before.done })
			<-before.over
		}
		s.run()
		close(s.over)
	}()
	return s
}

func (s *session) run() {
	static := s.n.plan.static(s.l, s.name)
	entry, moves := dynamic(s.l.entries)
	if !s.fixed(static) {
		return
	}
	if !moves {
		s.n.leased(s.l, &static[0], "static")
		s.n.log.Info(fmt.Sprintf("%s: %s as given", s.name, static[0]))
		s.contend(s.ctx)
		<-s.ctx.Done()
		return
	}
	if s.l.found.lease != nil && entry.Method == ipparam.DHCP {
		l := s.n.plan.amend(*s.l.found.lease, entry)
		l.Acquired, l.Took = time.Now(), time.Since(s.start)
		s.n.log.Info(fmt.Sprintf("%s: already configured: %s", s.name, l))
		s.n.leased(s.l, &l, "configured")
		s.contend(s.ctx)
		<-s.ctx.Done()
		return
	}
	hint := s.l.found.hint
	if had := s.n.leaseOf(s.l); had != nil {
		hint = had.Addr.Addr()
	}
	for s.ctx.Err() == nil {
		s.hold(s.client(entry), hint)
		hint = netip.Addr{}
		s.start = time.Now()
	}
}

// fixed configures the addresses the operator gave; false means that the
// session is over.
func (s *session) fixed(static []Lease) bool {
	tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(s.l.mac)}
	for _, l := range static {
		for {
			if !s.n.mayConfigure(s.l) {
				return false
			}
			err := s.configure(l, static)
			if err == nil {
				break
			}
			s.n.log.Warn(fmt.Sprintf("%v", err))
			s.n.note(s.l, "", 0, err.Error())
			if pause(s.ctx, tries.next()) != nil {
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

func (s *session) client(e ipparam.Entry) client {
	amend := func(l Lease) Lease { return s.n.plan.amend(l, e) }
	note := func(state string, sent int) { s.n.note(s.l, state, sent, "") }
	if e.Method == ipparam.Auto6 {
		return &slaac6{
			index: s.l.index, name: s.name, mac: s.l.mac, log: s.n.log, rng: newRand(s.l.mac),
			running: s.isRunning, amend: amend, note: note,
		}
	}
	return &dhcp4{
		port: &s.n.dhcp, host: e.Hostname, clientID: e.ClientID, amend: amend, note: note,
		index: s.l.index, name: s.name, mac: s.l.mac,
		vendor: s.n.opts.VendorClass, user: s.n.opts.UserClass,
		log: s.n.log, rng: newRand(s.l.mac), running: s.isRunning,
	}
}

// hold gets a lease and keeps it as long as a server and the context allow.
func (s *session) hold(c client, hint netip.Addr) {
	l, closer, err := c.acquire(s.ctx, hint)
	s.tail.Go(closer)
	if err != nil {
		return
	}
	l.Took = time.Since(s.start)
	if !s.n.mayConfigure(s.l) {
		return
	}
	if err := s.configure(l, s.n.plan.static(s.l, s.name)); err != nil {
		s.n.log.Warn(fmt.Sprintf("%v", err))
		s.n.note(s.l, "", 0, err.Error())
		_ = pause(s.ctx, time.Second)
		return
	}
	s.n.leased(s.l, &l, bound)
	s.n.log.Info(fmt.Sprintf("%s: %s in %s", s.name, l, millis(l.Took)))

	ctx, cancel := context.WithCancel(s.ctx)
	var proof sync.WaitGroup
	proof.Go(func() { s.contend(ctx) })
	err = s.keep(c, l)
	cancel()
	proof.Wait()
	if s.ctx.Err() != nil {
		return // the address stays; the next session asks for it again
	}
	s.n.log.Warn(fmt.Sprintf("%s: %v, starting over", s.name, err))
	s.n.leased(s.l, nil, "")
	family := netlink.FAMILY_V4
	if l.Addr.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	if err := errors.Join(s.n.kernel.flushRoutes(s.l.index, s.name, family), s.n.kernel.flushAddrs(s.l.index, s.name, family)); err != nil {
		s.n.log.Warn(fmt.Sprintf("%v", err))
	}
	s.l.had = nil
}

// configure puts a lease on the link. static are the link's fixed addresses.
func (s *session) configure(l Lease, static []Lease) error {
	same := s.l.mtu
	if had := s.n.leaseOf(s.l); had != nil && had.MTU != 0 {
		same = had.MTU
	}
	put := l
	if l.MTU == same {
		put.MTU = 0
	} else if l.MTU != 0 {
		s.n.mu.Lock()
		s.l.newMTU = true
		s.n.mu.Unlock()
	}
	if err := s.n.kernel.configure(put, s.l.metric, static, s.l.had); err != nil {
		return err
	}
	s.l.had = []netip.Prefix{l.Addr}
	for _, l := range static {
		s.l.had = append(s.l.had, l.Addr)
	}
	return nil
}

// keep renews the lease for ever; it returns why it is lost.
func (s *session) keep(c client, l Lease) error {
	for {
		next, err := c.renew(s.ctx, l)
		if err != nil {
			return err
		}
		next.Took = l.Took
		if err := s.configure(next, s.n.plan.static(s.l, s.name)); err != nil {
			return err
		}
		s.n.log.Info(fmt.Sprintf("%s: lease of %s renewed for %s", s.name, next.Addr, next.Time))
		s.n.leased(s.l, &next, bound)
		l = next
	}
}

// contend makes the link the winner once its lease is proven, or good enough
// where nothing proves it.
func (s *session) contend(ctx context.Context) {
	n := s.n
	select {
	case <-n.won:
		return
	default:
	}
	if n.opts.Prove == nil {
		if l := n.leaseOf(s.l); l.demoted() && (l.Addr.Addr().IsLinkLocalUnicast() || !n.alone()) {
			n.note(s.l, "waiting for a better lease", 0, "")
			n.log.Info(fmt.Sprintf("%s: %s leads nowhere, waiting %s for a better lease", s.name, l.Addr, n.opts.Grace))
			if pause(ctx, n.opts.Grace) != nil {
				return
			}
		}
		n.settle(s.l)
		return
	}
	tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(s.l.mac)}
	for {
		l := n.leaseOf(s.l)
		if l == nil {
			return
		}
		n.note(s.l, "proving the path", tries.n+1, "")
		err := n.prove(ctx, *l)
		if err == nil {
			n.settle(s.l)
			return
		}
		if ctx.Err() != nil {
			return
		}
		n.unproven(s.l, err)
		if pause(ctx, tries.next()) != nil {
			return
		}
	}
}

func (n *Network) prove(ctx context.Context, l Lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.opts.ProveTimeout, errors.New("proof of the path timed out"))
	defer cancel()
	return n.opts.Prove(ctx, l)
}

// settle ends the race in favour of l, unless it is over.
func (n *Network) settle(l *link) {
	if n.win(l) {
		n.note(l, bound, 0, "")
	}
}
