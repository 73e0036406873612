package netup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// errExpired says that a lease ran out before any server renewed it.
var errExpired = errors.New("dhcp: the lease has run out")

// renew waits until T1 and then asks for more time, of the lease's server
// until T2 and of every server after that (RFC 2131 section 4.4.5). It returns
// the renewed lease, errNAK, errExpired, or the end of ctx.
func (c *dhcp4) renew(ctx context.Context, l Lease) (Lease, error) {
	if l.Time == 0 {
		<-ctx.Done()
		return Lease{}, ctx.Err()
	}
	at := func(d time.Duration) time.Duration { return time.Until(l.Acquired.Add(d)) }
	if err := pause(ctx, at(l.T1)); err != nil {
		return Lease{}, err
	}
	for at(l.Time) > 0 {
		server, until, state := net.UDPAddr{IP: l.Server.AsSlice(), Port: nclient4.ServerPort}, l.T2, "renewing"
		if at(l.T2) <= 0 {
			server, until, state = *nclient4.DefaultServers, l.Time, "rebinding"
		}
		// Half of what is left, but not more often than once a minute, or an
		// eighth of a short lease.
		wait := max(at(until)/2, min(time.Minute, l.Time/8))
		wait = max(min(wait, at(until)), 10*time.Millisecond)
		next, err := c.renewOnce(ctx, l, &server, state, wait)
		if err == nil && next != nil {
			return *next, nil
		}
		if ctx.Err() != nil {
			return Lease{}, ctx.Err()
		}
		if errors.Is(err, errNAK) {
			return Lease{}, err
		}
		if err != nil {
			c.log.Warn(fmt.Sprintf("%s: %s: %v", c.name, state, err))
			if err := pause(ctx, wait); err != nil {
				return Lease{}, err
			}
		}
	}
	return Lease{}, errExpired
}

// renewOnce sends one REQUEST from the leased address and waits for the
// verdict; nil without an error means that none came.
func (c *dhcp4) renewOnce(ctx context.Context, l Lease, server *net.UDPAddr, state string, wait time.Duration) (*Lease, error) {
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
	from := l.Server
	if server.IP.Equal(net.IPv4bcast) {
		from = netip.Addr{}
	}
	got, err := c.exchange(ctx, cl, m, wait, c.isVerdict(from))
	if err != nil || got == nil {
		return nil, err
	}
	r, err := c.verdict(got, sent)
	if err != nil {
		return nil, err
	}
	return &r, nil
}
