package dhcp4

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"netstage/netup/internal/retry"
	"netstage/netup/lease"
)

// decline gives an address back to its server as another host's (RFC 2131
// section 4.4.4). Nothing answers.
func (c *Client) decline(l lease.Lease) {
	c.ACD.Declined()
	conn, err := c.Port.Open(c.Index, c.passedOver)
	if err != nil {
		c.Log.Debug(err.Error())
		return
	}
	defer conn.Close()
	m := c.newMessage(dhcpv4.MessageTypeDecline)
	m.UpdateOption(dhcpv4.OptRequestedIPAddress(l.Addr.Addr().AsSlice()))
	m.UpdateOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice()))
	c.Log.Debug("dhcp: send " + m.MessageType().String())
	if _, err := conn.WriteTo(m.ToBytes(), nclient4.DefaultServers); err != nil {
		c.Log.Debug("dhcp", "err", err)
	}
}

// reboot asks any server whether a known address still holds (INIT-REBOOT).
func (c *Client) reboot(ctx context.Context, cl *nclient4.Client, addr netip.Addr) (lease.Lease, error) {
	req := c.newQuery(dhcpv4.MessageTypeRequest)
	req.UpdateOption(dhcpv4.OptRequestedIPAddress(addr.AsSlice()))
	return c.request(ctx, cl, req, "rebooting", 2, netip.Addr{})
}

// request sends a REQUEST up to tries times and waits for ACK or NAK, from
// server only when that is valid.
func (c *Client) request(ctx context.Context, cl *nclient4.Client, req *dhcpv4.DHCPv4, state string, tries int, server netip.Addr) (lease.Lease, error) {
	wait := retry.Retransmit(c.Rand)
	for sent := 1; sent <= tries; sent++ {
		c.Note(state, sent)
		at := time.Now()
		got, err := c.exchange(ctx, cl, req, wait.Next(), c.isResult(server))
		if err != nil {
			return lease.Lease{}, err
		}
		if got != nil {
			return c.result(got, at)
		}
	}
	return lease.Lease{}, fmt.Errorf("dhcp: no answer to %d requests", tries)
}

// isResult matches an ACK that makes a lease and a NAK.
func (c *Client) isResult(server netip.Addr) nclient4.Matcher {
	return func(p *dhcpv4.DHCPv4) bool {
		if id, ok := addr4(p.ServerIdentifier()); server.IsValid() && (!ok || id != server) {
			return false
		}
		switch p.MessageType() {
		case dhcpv4.MessageTypeNak:
			return true
		case dhcpv4.MessageTypeAck:
			if _, err := Parse(p); err != nil {
				c.reject("ack", err)
				return false
			}
			return true
		}
		return false
	}
}

// result is the lease of an ACK, or the refusal of a NAK as an error.
func (c *Client) result(p *dhcpv4.DHCPv4, sent time.Time) (lease.Lease, error) {
	if p.MessageType() == dhcpv4.MessageTypeNak {
		if s := lease.Text(p.Message()); s != "" {
			return lease.Lease{}, fmt.Errorf("%w: %s", errNAK, s)
		}
		return lease.Lease{}, errNAK
	}
	l, err := Parse(p)
	if err != nil {
		return lease.Lease{}, err
	}
	l.Link, l.Index, l.MAC, l.Acquired = c.Name, c.Index, c.MAC, sent
	return c.Amend(l), nil
}

// exchange sends m and waits for a match; nil without an error means that
// time ran out.
func (c *Client) exchange(ctx context.Context, cl *nclient4.Client, m *dhcpv4.DHCPv4, wait time.Duration, match nclient4.Matcher) (*dhcpv4.DHCPv4, error) {
	sub, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c.Log.Debug(fmt.Sprintf("dhcp: send %s, wait %s", m.MessageType(), wait.Round(time.Millisecond)))
	got, err := cl.SendAndRead(sub, cl.RemoteAddr(), m, match)
	if err == nil {
		return got, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// A write can fail while the link is on its way up or down; the time of
	// this transmission is waited for all the same.
	if sub.Err() == nil {
		c.Log.Debug("dhcp", "err", err)
		<-sub.Done()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}
