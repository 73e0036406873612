package slaac

import (
	"context"
	"errors"
	"time"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/retry"
	"netstage/netup/lease"
)

// Renew returns when a router or a server has news, or an address is lost. It
// asks for news when a quarter, half and three quarters of a life are over.
func (c *Client) Renew(ctx context.Context, l lease.Lease) (lease.Lease, error) {
	return c.withRouters(ctx, func(ctx context.Context, h *routerListener) (lease.Lease, error) { return c.listen(ctx, h, l) })
}

// listen is the conversation of Renew.
func (c *Client) listen(ctx context.Context, h *routerListener, l lease.Lease) (lease.Lease, error) {
	dhcp := newServer()
	switch {
	case l.Source == "dhcp6":
		given := *c.given
		dhcp.ask(ctx, &h.wg, func(ctx context.Context) (dhcp6.Answer, error) { return c.DHCP.Renew(ctx, given) })
	case c.given == nil && c.routers.other() && !c.routers.managed(): // it was late
		dhcp.ask(ctx, &h.wg, c.DHCP.Inform)
	}
	wait := retry.Retransmit(c.Rand)
	solicit := time.NewTimer(c.nextSolicitation(l, wait))
	defer solicit.Stop()
	end, stop := endOfLife(l)
	defer stop()
	probe := c.DHCP.Probe().Done()
	for {
		select {
		case <-ctx.Done():
			return lease.Lease{}, ctx.Err()
		case err := <-h.failed:
			return lease.Lease{}, err
		case <-probe:
			probe = nil
			if conflict := c.probed(ctx); conflict != nil {
				return lease.Lease{}, conflict
			}
			continue
		case <-end:
			return lease.Lease{}, errors.New("the address's life is over and no router extended it")
		case <-solicit.C:
			h.solicit()
			solicit.Reset(c.nextSolicitation(l, wait))
			continue
		case a := <-h.adverts:
			c.handleAdvert(a)
			// News end a conversation with a server, which is not to be had in
			// vain.
			if next, ok := c.compose(true); ok && l.Source == "dhcp6" && next.Says(l) {
				continue
			}
		case r := <-dhcp.answer:
			c.given = &r
		case err := <-dhcp.failed:
			if ctx.Err() == nil {
				return lease.Lease{}, err
			}
			continue
		}
		next, ok := c.compose(true)
		if !ok {
			return lease.Lease{}, errors.New("the router takes the address's prefix back")
		}
		return next, nil
	}
}

// endOfLife tells when an address that a router gave is over; the function ends
// that.
func endOfLife(l lease.Lease) (<-chan time.Time, func() bool) {
	if l.Source != "ra" || l.Time == 0 {
		return nil, func() bool { return true }
	}
	t := time.NewTimer(time.Until(l.Acquired.Add(l.Time)))
	return t.C, t.Stop
}

// probed acts on the end of a probe for another host with the address: an
// address that has one is declined, which is the error.
func (c *Client) probed(ctx context.Context) error {
	if conflict := c.DHCP.Probe().Conflict(); conflict != nil {
		c.DHCP.Decline(ctx, *c.given)
		return conflict
	}
	c.DHCP.Confirm()
	return nil
}

// nextSolicitation is when to ask routers again: soon while there is none, else
// when a quarter of the life of an address of theirs is over.
func (c *Client) nextSolicitation(l lease.Lease, wait *retry.Backoff) time.Duration {
	if c.routers.gateway(time.Now()) == nil && l.Source == "dhcp6" {
		return wait.Next()
	}
	if l.Time == 0 || l.Source == "dhcp6" {
		return 24 * time.Hour
	}
	return max(l.Time/4, time.Second)
}
