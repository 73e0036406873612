package netup

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/sock"
)

// fakeDHCP is a DHCP server whose manners a test decides; nil is no answer.
type fakeDHCP struct {
	t      testing.TB
	server netip.Addr
	conn   net.PacketConn

	mu   sync.Mutex
	seen []*dhcpv4.DHCPv4
}

func (p *peer) fakeDHCP(t testing.TB, link, server string, answer func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4) *fakeDHCP {
	t.Helper()
	return p.fakeDHCPAt(t, link, server, "", answer)
}

// fakeDHCPAt hears only what is sent to one address: the server's own, or
// 255.255.255.255.
func (p *peer) fakeDHCPAt(t testing.TB, link, server, at string, answer func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4) *fakeDHCP {
	t.Helper()
	f := &fakeDHCP{t: t, server: netip.MustParseAddr(server)}
	p.do(t, func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return sock.Control(c, func(fd int) error {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
					return err
				}
				return unix.BindToDevice(fd, link)
			})
		}}
		var err error
		f.conn, err = lc.ListenPacket(t.Context(), "udp4", at+":67")
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, _, err := f.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := dhcpv4.FromBytes(buf[:n])
			if err != nil {
				continue
			}
			f.mu.Lock()
			f.seen = append(f.seen, m)
			f.mu.Unlock()
			for _, r := range answer(f, m) {
				f.conn.WriteTo(r.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
			}
		}
	}()
	t.Cleanup(func() { f.conn.Close(); <-done })
	return f
}

// reply answers m with the given type and address; opts override the rest.
func (f *fakeDHCP) reply(m *dhcpv4.DHCPv4, typ dhcpv4.MessageType, addr string, opts ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(typ))
	if err != nil {
		panic(err)
	}
	if addr != "" {
		r.YourIPAddr = net.ParseIP(addr).To4()
	}
	r.UpdateOption(dhcpv4.OptServerIdentifier(f.server.AsSlice()))
	if typ != dhcpv4.MessageTypeNak {
		r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(24, 32)))
		r.UpdateOption(dhcpv4.OptRouter(f.server.AsSlice()))
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Hour))
	}
	for _, o := range opts {
		r.UpdateOption(o)
	}
	return r
}

// polite answers DISCOVER with OFFER and REQUEST with ACK.
func (f *fakeDHCP) polite(m *dhcpv4.DHCPv4, addr string, opts ...dhcpv4.Option) []*dhcpv4.DHCPv4 {
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeOffer, addr, opts...)}
	case dhcpv4.MessageTypeRequest:
		return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeAck, addr, opts...)}
	}
	return nil
}

// got returns the messages of one type seen so far.
func (f *fakeDHCP) got(typ dhcpv4.MessageType) []*dhcpv4.DHCPv4 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*dhcpv4.DHCPv4
	for _, m := range f.seen {
		if m.MessageType() == typ {
			out = append(out, m)
		}
	}
	return out
}

// types lists the messages seen. A DISCOVER sent twice counts once: the first
// one may have been too early for the veth.
func (f *fakeDHCP) types() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for i, m := range f.seen {
		if i > 0 && m.MessageType() == dhcpv4.MessageTypeDiscover && f.seen[i-1].MessageType() == m.MessageType() {
			continue
		}
		out = append(out, fmt.Sprint(m.MessageType()))
	}
	return out
}
