package netup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/sock"
)

// fakeDHCP6 is a DHCPv6 server whose manners a test decides; nil is no answer.
// Its codec is not the client's.
type fakeDHCP6 struct {
	conn net.PacketConn
	duid dhcpv6.DUID

	mu   sync.Mutex
	seen []*dhcpv6.Message
}

func (p *peer) fakeDHCP6(t testing.TB, link string, answer func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message) *fakeDHCP6 {
	t.Helper()
	f := &fakeDHCP6{duid: &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}
	p.do(t, func() error {
		nic, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return sock.Control(c, func(fd int) error {
				group := &unix.IPv6Mreq{Interface: uint32(nic.Index), Multiaddr: dhcp6.Servers.As16()}
				if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group); err != nil {
					return err
				}
				return unix.BindToDevice(fd, link)
			})
		}}
		f.conn, err = lc.ListenPacket(t.Context(), "udp6", fmt.Sprintf("[::]:%d", dhcp6.ServerPort))
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := f.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := dhcpv6.MessageFromBytes(buf[:n])
			if err != nil {
				t.Errorf("%x: %v", buf[:n], err)
				continue
			}
			f.mu.Lock()
			f.seen = append(f.seen, m)
			f.mu.Unlock()
			if r := answer(f, m); r != nil {
				f.conn.WriteTo(r.ToBytes(), from)
			}
		}
	}()
	t.Cleanup(func() { f.conn.Close(); <-done })
	return f
}

// reply answers m, with an address unless that is "".
func (f *fakeDHCP6) reply(m *dhcpv6.Message, typ dhcpv6.MessageType, addr string, life time.Duration, opts ...dhcpv6.Option) *dhcpv6.Message {
	r := &dhcpv6.Message{MessageType: typ, TransactionID: m.TransactionID}
	r.AddOption(dhcpv6.OptClientID(m.Options.ClientID()))
	r.AddOption(dhcpv6.OptServerID(f.duid))
	if ia := m.Options.OneIANA(); ia != nil && addr != "" {
		a := &dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(addr), PreferredLifetime: life, ValidLifetime: life}
		r.AddOption(&dhcpv6.OptIANA{IaId: ia.IaId, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{a}}})
	}
	for _, o := range opts {
		r.AddOption(o)
	}
	return r
}

// polite answers what a client says in its life.
func (f *fakeDHCP6) polite(m *dhcpv6.Message, addr string, life time.Duration, opts ...dhcpv6.Option) *dhcpv6.Message {
	typ := dhcpv6.MessageTypeReply
	if m.MessageType == dhcpv6.MessageTypeSolicit {
		typ = dhcpv6.MessageTypeAdvertise
	}
	return f.reply(m, typ, addr, life, opts...)
}

// types lists the messages seen. A SOLICIT sent twice counts once.
func (f *fakeDHCP6) types() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for i, m := range f.seen {
		if i > 0 && m.MessageType == dhcpv6.MessageTypeSolicit && f.seen[i-1].MessageType == m.MessageType {
			continue
		}
		out = append(out, m.MessageType.String())
	}
	return out
}

// fakeRouter is a router, fe80::1, that says what a test has it say, to whom
// asks and at once.
type fakeRouter struct {
	conn net.PacketConn

	mu      sync.Mutex
	message []byte // nil: nothing
}

func (p *peer) fakeRouter(t testing.TB, link string, message []byte) *fakeRouter {
	t.Helper()
	r := &fakeRouter{message: message}
	p.do(t, func() error {
		nic, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return sock.Control(c, func(fd int) error {
				group := &unix.IPv6Mreq{Interface: uint32(nic.Index), Multiaddr: netip.MustParseAddr("ff02::2").As16()}
				return errors.Join(
					unix.BindToDevice(fd, link),
					unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group),
					unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
				)
			})
		}}
		r.conn, err = lc.ListenPacket(t.Context(), "ip6:ipv6-icmp", fmt.Sprintf("fe80::1%%%d", nic.Index))
		if err != nil {
			return err
		}
		// Bound to its address it would not hear what is sent to the group.
		in, err := lc.ListenPacket(t.Context(), "ip6:ipv6-icmp", "::")
		if err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 1500)
			for {
				if _, _, err := in.ReadFrom(buf); err != nil {
					return
				}
				if buf[0] == 133 {
					r.mu.Lock()
					r.send()
					r.mu.Unlock()
				}
			}
		}()
		t.Cleanup(func() { in.Close(); <-done; r.conn.Close() })
		return nil
	})
	return r
}

// say changes what the router says.
func (r *fakeRouter) say(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.message = message
	r.send()
}

func (r *fakeRouter) send() {
	if r.message != nil {
		r.conn.WriteTo(r.message, &net.IPAddr{IP: net.IPv6linklocalallnodes})
	}
}
