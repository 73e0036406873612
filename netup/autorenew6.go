package netup

import (
	"context"
	"errors"
	"sync"
	"time"
)

// renew returns when a router or a server has news, or an address is lost. It
// asks for news when a quarter, half and three quarters of a life are over.
func (c *autoconf6) renew(ctx context.Context, l Lease) (Lease, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, adverts, failed, stop, err := c.hear(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer stop()

	dhcp := newServer()
	switch {
	case l.Source == "dhcp6":
		given := *c.given
		dhcp.ask(ctx, &wg, func(ctx context.Context) (reply6, error) { return c.dhcp.renew(ctx, given) })
	case c.given == nil && c.routers.other() && !c.routers.managed(): // it was late
		dhcp.ask(ctx, &wg, c.dhcp.inform)
	}
	wait := retransmit(c.rng)
	solicit := time.NewTimer(c.nextSolicitation(l, wait))
	defer solicit.Stop()
	var end <-chan time.Time
	if l.Source == "ra" && l.Time > 0 {
		over := time.NewTimer(time.Until(l.Acquired.Add(l.Time)))
		defer over.Stop()
		end = over.C
	}
	probe := c.dhcp.probe.over()
	for {
		select {
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		case err := <-failed:
			return Lease{}, err
		case <-probe:
			if conflict := c.dhcp.probe.conflict(); conflict != nil {
				c.dhcp.decline(ctx, *c.given)
				return Lease{}, conflict
			}
			probe, c.dhcp.probe, c.dhcp.guard.declined = nil, nil, 0
			continue
		case <-end:
			return Lease{}, errors.New("the address's life is over and no router extended it")
		case <-solicit.C:
			conn.solicit()
			solicit.Reset(c.nextSolicitation(l, wait))
			continue
		case a := <-adverts:
			c.hearRouter(a)
			// News end a conversation with a server, which is not to be had in vain.
			if next, ok := c.compose(true); ok && l.Source == "dhcp6" && next.says(l) {
				continue
			}
		case r := <-dhcp.answer:
			c.given = &r
		case err := <-dhcp.failed:
			if ctx.Err() == nil {
				return Lease{}, err
			}
			continue
		}
		next, ok := c.compose(true)
		if !ok {
			return Lease{}, errors.New("the router takes the address's prefix back")
		}
		return next, nil
	}
}

// nextSolicitation is when to ask routers again: soon while there is none, else
// when a quarter of the life of an address of theirs is over.
func (c *autoconf6) nextSolicitation(l Lease, wait *backoff) time.Duration {
	if c.routers.gateway(time.Now()) == nil && l.Source == "dhcp6" {
		return wait.next()
	}
	if l.Time == 0 || l.Source == "dhcp6" {
		return 24 * time.Hour
	}
	return max(l.Time/4, time.Second)
}
