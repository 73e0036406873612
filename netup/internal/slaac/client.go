// Package slaac configures IPv6 by what routers advertise (RFC 4861, RFC 4862),
// with DHCPv6 where they speak of it.
package slaac

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

const (
	// serverPatience is how long an address by router advertisement waits for
	// the DHCPv6 server that the router speaks of: two messages' time.
	serverPatience = 1200 * time.Millisecond
	// routerPatience is how long an address by DHCPv6 waits for a router: that
	// of three solicitations. A router may take half a second (RFC 4861 section
	// 6.2.6).
	routerPatience = 2800 * time.Millisecond
	// silence is how long no router speaks before DHCPv6 servers are asked all
	// the same: a network may have them alone.
	silence = 4 * time.Second
)

// Client is one link's IPv6 configuration: what routers advertise (RFC 4862),
// and what DHCPv6 servers give where routers say that there are some, or where
// the operator does.
type Client struct {
	Index   int
	Name    string
	MAC     net.HardwareAddr
	Log     *slog.Logger // the link's
	Rand    *rand.Rand
	Kernel  rtnl.Link
	Running context.Context // see dhcp4.Client
	Note    func(state string, sent int)
	Amend   func(lease.Lease) lease.Lease
	DHCP    *dhcp6.Client
	Always  bool // an address by DHCPv6, whatever the routers say (ip=dhcp6)

	// What is known; one of Acquire and Renew runs at a time.
	routers  routers
	given    *dhcp6.Answer // a DHCPv6 server's answer
	tried    []netip.Addr  // routers that led nowhere, the last one tried last
	warned   bool          // of an advertisement of no use
	noRouter bool          // no router speaks: DHCPv6 is asked all the same
}

// Acquire solicits until a router or a server gives an address.
func (c *Client) Acquire(ctx context.Context, _ netip.Addr) (lease.Lease, func(), error) {
	none := func() {}
	tries := retry.New(time.Second, 16*time.Second, c.Rand)
	for {
		l, err := c.acquireOnce(ctx)
		if err == nil || ctx.Err() != nil {
			probe := c.DHCP.Probe()
			return l, probe.Wait, err
		}
		c.Log.Warn(err.Error())
		if err := retry.Pause(ctx, tries.Next()); err != nil {
			return lease.Lease{}, none, err
		}
	}
}

// server runs one conversation with DHCPv6 servers beside the one with routers.
type server struct {
	answer chan dhcp6.Answer
	failed chan error
	asked  bool
}

func newServer() *server {
	return &server{answer: make(chan dhcp6.Answer, 1), failed: make(chan error, 1)}
}

// ask starts the conversation, once.
func (s *server) ask(ctx context.Context, wg *sync.WaitGroup, f func(context.Context) (dhcp6.Answer, error)) {
	if s.asked {
		return
	}
	s.asked = true
	wg.Go(func() {
		r, err := f(ctx)
		if err != nil {
			s.failed <- err
			return
		}
		s.answer <- r
	})
}

// routerListener is a conversation with the routers of a link, and what goes on
// beside it.
type routerListener struct {
	*routerConn
	adverts chan advert
	failed  chan error // the end of it
	wg      sync.WaitGroup
}

// withRouters opens the socket to routers for f. All that f starts is over when
// withRouters returns.
func (c *Client) withRouters(ctx context.Context, f func(context.Context, *routerListener) (lease.Lease, error)) (lease.Lease, error) {
	conn, err := listenRouters(c.Index, c.MAC, c.Log)
	if err != nil {
		return lease.Lease{}, err
	}
	h := &routerListener{routerConn: conn, adverts: make(chan advert), failed: make(chan error, 1)}
	defer h.wg.Wait()
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.wg.Go(func() { h.failed <- conn.deliver(ctx, h.adverts) })
	return f(ctx, h)
}

// acquireOnce gets an address: it asks routers until one has something to say,
// and DHCPv6 servers once it is known that there are some.
func (c *Client) acquireOnce(ctx context.Context) (lease.Lease, error) {
	c.routers, c.given, c.noRouter = nil, nil, false
	if err := c.Kernel.LinkLocal(netip.PrefixFrom(EUI64(netip.MustParseAddr("fe80::"), c.MAC), 64)); err != nil {
		return lease.Lease{}, err
	}
	return c.withRouters(ctx, c.solicit)
}

// solicitation is the conversation of acquireOnce: routers are solicited until
// one has something to say, and DHCPv6 servers asked once it is known that there
// are some.
type solicitation struct {
	*Client
	*routerListener
	dhcp, info *server
	wait       *retry.Backoff
	sent       int
	next       *time.Timer // to the next solicitation
	late       *time.Timer // for what may still come
	timedOut   bool        // by late
}

// solicit runs the conversation of acquireOnce.
func (c *Client) solicit(ctx context.Context, h *routerListener) (lease.Lease, error) {
	s := &solicitation{
		Client: c, routerListener: h, dhcp: newServer(), info: newServer(),
		wait: retry.Retransmit(c.Rand), next: time.NewTimer(0), late: time.NewTimer(time.Hour),
	}
	defer s.next.Stop()
	s.late.Stop()
	silent := time.NewTimer(silence)
	defer silent.Stop()
	if c.Always {
		s.dhcp.ask(ctx, &h.wg, c.DHCP.Acquire)
	}
	running := c.Running.Done()
	for {
		select {
		case <-ctx.Done():
			return lease.Lease{}, ctx.Err()
		case err := <-h.failed:
			return lease.Lease{}, err
		case <-running:
			running = nil
			s.restart()
		case <-s.next.C:
			s.send()
		case a := <-h.adverts:
			s.advertised(ctx, a)
		case r := <-s.dhcp.answer:
			c.given = &r
			if c.Always {
				s.late.Reset(routerPatience)
			}
		case r := <-s.info.answer:
			if c.given == nil {
				c.given = &r
			}
		case <-s.late.C:
			s.timedOut = true
		case <-silent.C:
			s.withoutRouter(ctx)
		}
		if l, ok := s.result(); ok {
			return l, nil
		}
	}
}

// restart solicits once more, once the link is surely running: what was sent
// before may be lost.
func (s *solicitation) restart() {
	if s.Running.Err() != nil && len(s.routers) == 0 && s.sent > 0 {
		s.wait.Reset()
		s.next.Reset(0)
	}
}

// send sends a solicitation.
func (s *solicitation) send() {
	s.sent++
	if !s.Always && !s.noRouter {
		s.Note("soliciting a router", s.sent)
	}
	s.routerListener.solicit()
	s.next.Reset(s.wait.Next())
}

// advertised asks the servers that an advertisement speaks of.
func (s *solicitation) advertised(ctx context.Context, a advert) {
	s.handleAdvert(a)
	first := !s.dhcp.asked && !s.info.asked
	if s.routers.managed() {
		s.dhcp.ask(ctx, &s.wg, s.DHCP.Acquire)
	} else if s.routers.other() && !s.Always {
		s.info.ask(ctx, &s.wg, s.DHCP.Inform)
	}
	if first && (s.dhcp.asked || s.info.asked) {
		s.late.Reset(serverPatience)
	}
}

// withoutRouter asks DHCPv6 servers where no router has spoken.
func (s *solicitation) withoutRouter(ctx context.Context) {
	if len(s.routers) > 0 || s.dhcp.asked {
		return
	}
	s.Log.Info("no IPv6 router speaks, asking DHCPv6 servers")
	s.noRouter, s.timedOut = true, true
	s.dhcp.ask(ctx, &s.wg, s.DHCP.Acquire)
}

// result is the lease of what is known, where that is enough for one.
func (s *solicitation) result() (lease.Lease, bool) {
	l, ok := s.compose(s.timedOut)
	switch {
	case ok && l.Source == "ra" && s.routers.managed():
		s.Log.Info("no DHCPv6 server answers, the address comes from the router's prefix")
	case !ok && len(s.routers) > 0 && s.routers.gateway(time.Now()) != nil:
		s.next.Stop() // they are there, and will tell of changes by themselves
	}
	return l, ok
}

// handleAdvert takes an advertisement, and says so where it is of no use.
func (c *Client) handleAdvert(a advert) {
	c.routers = c.routers.update(a)
	if _, ok := c.routers.slaac(c.Name, c.MAC, a.at); ok || c.Always || c.routers.managed() || c.warned {
		return
	}
	c.warned = true
	c.Log.Info(fmt.Sprintf("router %s advertises no prefix to take an address from, nor DHCPv6", a.router))
}

// compose makes the lease of what is known. timedOut says that what may still
// come has had its time.
func (c *Client) compose(timedOut bool) (lease.Lease, bool) {
	now := time.Now()
	byServer := c.Always || c.noRouter || c.routers.managed()
	if byServer && c.given != nil && c.given.Addr.IsValid() {
		if len(c.routers) == 0 && !timedOut {
			return lease.Lease{}, false
		}
		l := c.ranked().leased(c.given.Reply, c.given.At, c.Name, now)
		l.Server = c.given.From
		return c.finish(l), true
	}
	l, ok := c.ranked().slaac(c.Name, c.MAC, now)
	if !ok || c.Always {
		return lease.Lease{}, false
	}
	if c.given != nil {
		return c.finish(informed(l, c.given.Reply, c.Name)), true
	}
	if (byServer || c.routers.other()) && !timedOut {
		return lease.Lease{}, false
	}
	return c.finish(l), true
}

// ranked are the routers, those last that led nowhere.
func (c *Client) ranked() routers {
	return c.routers.demoting(c.tried)
}

// finish adds the link, and what the operator said.
func (c *Client) finish(l lease.Lease) lease.Lease {
	l.Link, l.Index, l.MAC = c.Name, c.Index, c.MAC
	return c.Amend(l)
}

// Another is l by another router than the one that led nowhere (RFC 4861
// section 6.3.6), and once all were tried with the address of another server.
// False: there is none.
func (c *Client) Another(ctx context.Context, l lease.Lease) (lease.Lease, func(), bool) {
	none := func() {}
	c.tried = append(slices.DeleteFunc(c.tried, func(a netip.Addr) bool { return a == l.Gateway() }), l.Gateway())
	next, ok := c.compose(true)
	ok = ok && next.Gateway() != l.Gateway()
	if l.Source != "dhcp6" || ok && !slices.Contains(c.tried, next.Gateway()) {
		return next, none, ok
	}
	given, found := c.DHCP.Another(ctx, *c.given)
	if !found {
		return next, none, ok
	}
	c.given, c.tried = &given, nil
	next, ok = c.compose(true)
	return next, c.DHCP.Probe().Wait, ok
}
