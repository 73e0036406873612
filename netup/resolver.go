package netup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"netstage/netup/internal/sock"
)

// dnsTimeout bounds one question to one server, so that a dead first server
// costs little. Go's resolver asks several times in all.
const dnsTimeout = 1500 * time.Millisecond

// Resolver asks the lease's DNS servers and no others, the next one after a
// failure. It needs no resolv.conf, and the lease's renewals reach it.
func (n *Network) Resolver() *net.Resolver { return n.resolver }

// ResolvConf is the text of a resolv.conf for the winning lease.
func (n *Network) ResolvConf() []byte { return n.Lease().ResolvConf() }

func resolver(servers func() []netip.Addr, link string) *net.Resolver {
	var turn atomic.Uint32 // grows when a server fails
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			list := servers()
			if len(list) == 0 {
				return nil, errNoDNS
			}
			mine := turn.Load()
			server := netip.AddrPortFrom(list[mine%uint32(len(list))], 53)
			fail := func() { turn.CompareAndSwap(mine, mine+1) }
			d := net.Dialer{Timeout: dnsTimeout, Control: sock.BindTo(link)}
			conn, err := d.DialContext(ctx, network, server.String())
			if err != nil {
				fail()
				return nil, err
			}
			watched := &dnsConn{Conn: conn, fail: fail}
			if p, ok := conn.(net.PacketConn); ok {
				return dnsPacketConn{watched, p}, nil
			}
			return watched, nil
		},
	}
}

// dnsConn is a question to one server: short deadlines, and a note when it
// brought no answer.
type dnsConn struct {
	net.Conn
	fail func()
}

func (c *dnsConn) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(dnsTimeout); t.IsZero() || t.After(soon) {
		t = soon
	}
	return c.Conn.SetDeadline(t)
}

func (c *dnsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch {
	case err != nil && !errors.Is(err, net.ErrClosed):
		c.fail()
	case n > 3 && b[3]&0x0f != 0 && b[3]&0x0f != 3:
		// SERVFAIL, REFUSED and the like; no such name (3) is an answer.
		c.fail()
	}
	return n, err
}

// dnsPacketConn lets Go's resolver see that it talks over datagrams.
type dnsPacketConn struct {
	*dnsConn
	packet net.PacketConn
}

func (c dnsPacketConn) ReadFrom(b []byte) (int, net.Addr, error)  { return c.packet.ReadFrom(b) }
func (c dnsPacketConn) WriteTo(b []byte, a net.Addr) (int, error) { return c.packet.WriteTo(b, a) }
