package netup

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// renew waits until T1 and then asks for more time, of the lease's server
// until T2 and of every server after that. It returns the renewed lease,
// errLost, errExpired, a conflictError, or the end of ctx.
func (c *dhcp4) renew(ctx context.Context, l Lease) (Lease, error) {
	if c.probe != nil { // it may still find another host with the address
		select {
		case <-c.probe.over():
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		}
		if conflict := c.probe.conflict(); conflict != nil {
			c.decline(l)
			return Lease{}, conflict
		}
		c.probe, c.guard.declined = nil, 0
	}
	return renewal(ctx, lifetimes{l.Acquired, l.Time, l.T1, l.T2}, func(rebinding bool, wait time.Duration) (*Lease, error) {
		return c.renewOnce(ctx, l, rebinding, wait)
	}, func(rebinding bool, err error) {
		c.log.Warn(fmt.Sprintf("%s: renewing: %v", c.name, err))
	})
}

// renewOnce sends one REQUEST from the leased address and waits for the
// verdict; nil without an error means that none came.
func (c *dhcp4) renewOnce(ctx context.Context, l Lease, rebinding bool, wait time.Duration) (*Lease, error) {
	server, from, state := &net.UDPAddr{IP: l.Server.AsSlice(), Port: nclient4.ServerPort}, l.Server, "renewing"
	if rebinding {
		server, from, state = nclient4.DefaultServers, netip.Addr{}, "rebinding"
	}
	conn, err := listenUDP(ctx, c.name)
	if err != nil {
		return nil, err
	}
	cl, err := nclient4.NewWithConn(conn, c.mac, nclient4.WithTimeout(time.Hour), nclient4.WithRetry(1), nclient4.WithServerAddr(server))
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer cl.Close()
	c.note(state, 1)
	m := c.message(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = l.Addr.Addr().AsSlice()
	sent := time.Now()
	got, err := c.exchange(ctx, cl, m, wait, c.isVerdict(from))
	if err != nil || got == nil {
		return nil, err
	}
	r, err := c.verdict(got, sent)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	return &r, nil
}
