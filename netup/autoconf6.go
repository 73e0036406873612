package netup

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// serverPatience is how long an address by router advertisement waits for
	// the DHCPv6 server that the router speaks of: two messages' time.
	serverPatience = 1200 * time.Millisecond
	// routerPatience is how long an address by DHCPv6 waits for a router: that
	// of three solicitations. A router may take half a second (RFC 4861 section
	// 6.2.6).
	routerPatience = 2800 * time.Millisecond
)

// autoconf6 is one link's IPv6 configuration: what routers advertise (RFC
// 4862), and what DHCPv6 servers give where routers say that there are some, or
// where the operator does.
type autoconf6 struct {
	index   int
	name    string
	mac     net.HardwareAddr
	log     *slog.Logger
	rng     *rand.Rand
	kernel  kernel
	running context.Context // see dhcp4
	note    func(state string, sent int)
	amend   func(Lease) Lease
	dhcp    *client6
	always  bool // an address by DHCPv6, whatever the routers say (ip=dhcp6)

	// What is known; one of acquire and renew runs at a time.
	routers routers
	given   *reply6 // a DHCPv6 server's answer
	warned  bool    // of an advertisement of no use
}

// acquire solicits until a router or a server gives an address.
func (c *autoconf6) acquire(ctx context.Context, _ netip.Addr) (Lease, func(), error) {
	none := func() {}
	tries := &backoff{first: time.Second, limit: 16 * time.Second, rng: c.rng}
	for {
		l, err := c.find(ctx)
		if err == nil || ctx.Err() != nil {
			probe := c.dhcp.probe
			return l, probe.wait, err
		}
		c.log.Warn(fmt.Sprintf("%s: %v", c.name, err))
		if err := pause(ctx, tries.next()); err != nil {
			return Lease{}, none, err
		}
	}
}

// server runs one conversation with DHCPv6 servers beside the one with routers.
type server struct {
	answer chan reply6
	failed chan error
	asked  bool
}

func newServer() *server { return &server{answer: make(chan reply6, 1), failed: make(chan error, 1)} }

// ask starts the conversation, once.
func (s *server) ask(ctx context.Context, wg *sync.WaitGroup, f func(context.Context) (reply6, error)) {
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

// hear opens the socket to routers. What they say arrives until the returned
// function is called; an error on the second channel is the end of it.
func (c *autoconf6) hear(ctx context.Context) (*routerConn, chan advert, chan error, func(), error) {
	conn, err := listenRouters(c.index, c.name, c.mac, c.log)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	adverts, failed := make(chan advert), make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- conn.deliver(ctx, adverts) })
	return conn, adverts, failed, func() {
		cancel()
		conn.Close()
		wg.Wait()
	}, nil
}

// find gets an address: it asks routers until one has something to say, and
// DHCPv6 servers once it is known that there are some.
func (c *autoconf6) find(ctx context.Context) (Lease, error) {
	c.routers, c.given = nil, nil
	if err := c.kernel.linkLocal(c.index, c.name, c.mac); err != nil {
		return Lease{}, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, adverts, failed, stop, err := c.hear(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer stop()

	dhcp, info := newServer(), newServer()
	if c.always {
		dhcp.ask(ctx, &wg, c.dhcp.acquire)
	}
	wait := retransmit(c.rng)
	running, sent := c.running.Done(), 0
	solicit := time.NewTimer(0)
	defer solicit.Stop()
	impatient := time.NewTimer(time.Hour)
	impatient.Stop()
	enough := false // impatient
	for {
		select {
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		case err := <-failed:
			return Lease{}, err
		case <-running:
			running = nil
			if c.running.Err() != nil && len(c.routers) == 0 && sent > 0 { // sent too early
				wait.n = 0
				solicit.Reset(0)
			}
		case <-solicit.C:
			sent++
			if !c.always {
				c.note("soliciting a router", sent)
			}
			conn.solicit()
			solicit.Reset(wait.next())
		case a := <-adverts:
			c.hearRouter(a)
			first := !dhcp.asked && !info.asked
			if c.routers.managed() {
				dhcp.ask(ctx, &wg, c.dhcp.acquire)
			} else if c.routers.other() && !c.always {
				info.ask(ctx, &wg, c.dhcp.inform)
			}
			if first && (dhcp.asked || info.asked) {
				impatient.Reset(serverPatience)
			}
		case r := <-dhcp.answer:
			c.given = &r
			if c.always {
				impatient.Reset(routerPatience)
			}
		case r := <-info.answer:
			if c.given == nil {
				c.given = &r
			}
		case <-impatient.C:
			enough = true
		}
		if l, ok := c.compose(enough); ok {
			if l.Source == "ra" && c.routers.managed() {
				c.log.Info(fmt.Sprintf("%s: no DHCPv6 server answers, the address comes from the router's prefix", c.name))
			}
			return l, nil
		}
		if len(c.routers) > 0 && c.routers.gateway(time.Now()) != nil {
			solicit.Stop() // they are there, and will tell of changes by themselves
		}
	}
}

// hearRouter takes an advertisement, and says so where it is of no use.
func (c *autoconf6) hearRouter(a advert) {
	c.routers = c.routers.take(a)
	if _, ok := c.routers.slaac(c.name, c.mac, a.at); ok || c.always || c.routers.managed() || c.warned {
		return
	}
	c.warned = true
	c.log.Info(fmt.Sprintf("%s: router %s advertises no prefix to take an address from, nor DHCPv6", c.name, a.router))
}

// compose makes the lease of what is known. enough says that what may still
// come has had its time.
func (c *autoconf6) compose(enough bool) (Lease, bool) {
	now := time.Now()
	byServer := c.always || c.routers.managed()
	if byServer && c.given != nil && c.given.Addr.IsValid() {
		if len(c.routers) == 0 && !enough {
			return Lease{}, false
		}
		l := c.routers.leased(c.given.Reply, c.given.at, c.name, now)
		l.Server = c.given.from
		return c.finish(l), true
	}
	l, ok := c.routers.slaac(c.name, c.mac, now)
	if !ok || c.always {
		return Lease{}, false
	}
	if c.given != nil {
		return c.finish(informed(l, c.given.Reply, c.name)), true
	}
	if (byServer || c.routers.other()) && !enough {
		return Lease{}, false
	}
	return c.finish(l), true
}

func (c *autoconf6) finish(l Lease) Lease {
	l.Link, l.Index, l.MAC = c.name, c.index, c.mac
	return c.amend(l)
}
