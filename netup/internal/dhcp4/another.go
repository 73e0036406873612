package dhcp4

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"netstage/netup/lease"
)

// otherPatience is how long another server has to offer an address: it is the
// slower one, and the first machines after a power cut find it busy.
const otherPatience = 3 * time.Second

var errNoOffer = errors.New("dhcp: no other server offers an address")

// Another returns a lease of another server than that of l, which led nowhere:
// of one not tried yet, else of the one tried longest ago. False: there is
// none. The function returned closes the client.
func (c *Client) Another(ctx context.Context, l lease.Lease) (lease.Lease, func(), bool) {
	c.avoid(l.Server)
	for {
		next, closer, ok := c.other(ctx)
		if ok || len(c.tried) < 2 || ctx.Err() != nil {
			if !ok {
				c.tried = nil
			}
			return next, closer, ok
		}
		closer()
		c.tried = c.tried[1:]
	}
}

// avoid puts a server behind all others.
func (c *Client) avoid(server netip.Addr) {
	c.tried = append(slices.DeleteFunc(c.tried, func(a netip.Addr) bool { return a == server }), server)
}

// other has a conversation with a server that was not tried.
func (c *Client) other(ctx context.Context) (lease.Lease, func(), bool) {
	cl, err := c.open()
	if err != nil {
		c.Log.Debug(err.Error())
		return lease.Lease{}, func() {}, false
	}
	l, err := c.select4(ctx, cl, time.Now(), otherPatience)
	probe := c.probe
	return l, func() {
		cl.Close()
		probe.Wait()
	}, err == nil
}
