package dhcp4

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"netstage/netup/internal/retry"
	"netstage/netup/lease"
)

// Renew waits until T1 and then asks for more time, of the lease's server
// until T2 and of every server after that. It returns the renewed lease,
// retry.ErrLost, retry.ErrExpired, an acd.ConflictError, or the end of ctx.
func (c *Client) Renew(ctx context.Context, l lease.Lease) (lease.Lease, error) {
	if c.probe != nil { // it may still find another host with the address
		select {
		case <-c.probe.Done():
		case <-ctx.Done():
			return lease.Lease{}, ctx.Err()
		}
		if conflict := c.probe.Conflict(); conflict != nil {
			c.decline(l)
			return lease.Lease{}, conflict
		}
		c.probe = nil
		c.ACD.Confirm()
	}
	return retry.Renew(ctx, retry.Lifetimes{From: l.Acquired, Lease: l.Time, T1: l.T1, T2: l.T2}, func(rebinding bool, wait time.Duration) (*lease.Lease, error) {
		return c.renewOnce(ctx, l, rebinding, wait)
	}, func(rebinding bool, err error) {
		c.Log.Warn("renewing", "err", err)
	})
}

// renewOnce sends one REQUEST from the leased address and waits for the
// result; nil without an error means that none came.
func (c *Client) renewOnce(ctx context.Context, l lease.Lease, rebinding bool, wait time.Duration) (*lease.Lease, error) {
	server, from, state := &net.UDPAddr{IP: l.Server.AsSlice(), Port: nclient4.ServerPort}, l.Server, "renewing"
	if rebinding {
		server, from, state = nclient4.DefaultServers, netip.Addr{}, "rebinding"
	}
	conn, err := listenUDP(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	cl, err := nclient4.NewWithConn(conn, c.MAC, nclient4.WithTimeout(time.Hour), nclient4.WithRetry(1), nclient4.WithServerAddr(server))
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer cl.Close()
	c.Note(state, 1)
	m := c.newQuery(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = l.Addr.Addr().AsSlice()
	sent := time.Now()
	got, err := c.exchange(ctx, cl, m, wait, c.isResult(from))
	if err != nil || got == nil {
		return nil, err
	}
	r, err := c.result(got, sent)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", retry.ErrLost, err)
	}
	return &r, nil
}
