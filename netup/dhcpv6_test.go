package netup

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/vishvananda/netlink"

	"netstage/netup/internal/rtnl"
	"netstage/netup/internal/slaac"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
)

// addrs6Of and routes6Of are addrsOf and routesOf for IPv6, without what every
// link has.
func addrs6Of(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	must(withLink(name, func(l netlink.Link) error {
		list, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range list {
			if !a.IP.IsLinkLocalUnicast() {
				out = append(out, a.IPNet.String())
			}
		}
		return err
	}))
	slices.Sort(out)
	return out
}

func routes6Of(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	must(withLink(name, func(l netlink.Link) error {
		list, err := netlink.RouteList(l, netlink.FAMILY_V6)
		for i := range list {
			if list[i].Protocol == rtnl.ProtoDHCP {
				out = append(out, strings.Replace(rtnl.RouteText(&list[i]), "::/0", "default", 1))
			}
		}
		return err
	}))
	slices.Sort(out)
	return out
}

// router6 is a peer on eth0 with the addresses of an IPv6 router.
func router6(t testing.TB) *peer {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	return p
}

func auto(t testing.TB, ip ...string) Options {
	return Options{Config: config(t, ipparam.Params{IP: ip})}
}

// A network without IPv4, by the default: the router says that addresses come
// from the DHCPv6 server, and the default route is its own.
func TestDHCPv6Stateful(t *testing.T) {
	for _, ip := range [][]string{nil, {"dhcp6"}, {"eth0:dhcp6"}, {"dhcp,dhcp6"}, {"auto6"}} {
		t.Run(strings.Join(ip, " "), func(t *testing.T) {
			p := router6(t)
			p.dnsmasq(t, "--interface=eth0p", "--enable-ra", "--dhcp-range=2001:db8::50,2001:db8::50,64,1h",
				"--dhcp-option=option6:dns-server,[2001:db8::1],[2001:db8::2]", "--dhcp-option=option6:domain-search,a.example",
				"--dhcp-option=option6:ntp-server,[2001:db8::3]", "--dhcp-option=option6:bootfile-url,http://[2001:db8::4]/boot/boot.ipxe",
				"--address=/image.test/2001:db8::1", "--local=/test/", "--dhcp-userclass=set:rack,rack-7", "--dhcp-option=tag:rack,option6:bootfile-param,quiet")
			p.greeter(t, "[2001:db8::1]:8080")
			o := auto(t, ip...)
			o.UserClass = "rack-7"
			n := up(t, o)
			l := n.Lease()
			if !slices.Equal(l.BootParams, []string{"quiet"}) { // for this user class
				t.Errorf("boot file parameters %q", l.BootParams)
			}
			ap := netip.MustParseAddr
			if l.Source != "dhcp6" || l.String() != "2001:db8::50/64 via fe80::1, dns 2001:db8::1 2001:db8::2, from fe80::1" || l.Time != time.Hour ||
				!slices.Equal(l.NTP, []netip.Addr{ap("2001:db8::3")}) || l.BootFile != "http://[2001:db8::4]/boot/boot.ipxe" {
				t.Errorf("lease %+v", l)
			}
			if d := cmp.Diff([]string{"2001:db8::50/64"}, addrs6Of(t, "eth0")); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{"2001:db8::/64 on the link", "default via fe80::1"}, routes6Of(t, "eth0")); d != "" {
				t.Error(d)
			}
			if got := string(n.ResolvConf()); got != "search a.example\nnameserver 2001:db8::1\nnameserver 2001:db8::2\n" {
				t.Errorf("resolv.conf %q", got)
			}
			c, err := n.DialContext(t.Context(), "tcp", "image.test:8080")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			if err := n.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a, r := addrs6Of(t, "eth0"), routes6Of(t, "eth0"); len(a)+len(r) > 0 {
				t.Errorf("after Down: addresses %v, routes %v", a, r)
			}
		})
	}
}

// The address by router advertisement, the rest by DHCPv6.
func TestDHCPv6Stateless(t *testing.T) {
	p := router6(t)
	p.dnsmasq(t, "--port=0", "--interface=eth0p", "--enable-ra", "--dhcp-range=2001:db8::,ra-stateless,64,1h",
		"--dhcp-option=option6:dns-server,[2001:db8::2]", "--dhcp-option=option6:bootfile-url,http://[2001:db8::4]/boot.ipxe",
		"--dhcp-option=option6:sntp-server,[2001:db8::3]")
	n := up(t, auto(t, "auto6"))
	l := n.Lease()
	want := netip.PrefixFrom(slaac.EUI64(netip.MustParseAddr("2001:db8::"), macOf(t, "eth0")), 64)
	if l.Source != "ra" || l.Addr != want || l.BootFile != "http://[2001:db8::4]/boot.ipxe" || len(l.NTP) != 1 || len(l.DNS) != 1 {
		t.Errorf("lease %+v", l)
	}
	if d := cmp.Diff([]string{want.String()}, addrs6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
}

// flagged is advertisement with flags: managed is 0x80, other 0x40.
func flagged(flags byte) []byte {
	b := slices.Clone(advertisement)
	b[5] = flags
	return b
}

// A router that speaks of DHCPv6 servers that are not there does not keep a
// link from the address of its prefix.
func TestDHCPv6ServerIsMissing(t *testing.T) {
	for name, flags := range map[string]byte{"managed": 0x80, "other": 0x40} {
		t.Run(name, func(t *testing.T) {
			p := router6(t)
			p.fakeRouter(t, "eth0p", flagged(flags))
			if l := up(t, auto(t, "auto6")).Lease(); l.Source != "ra" || l.Gateway() != netip.MustParseAddr("fe80::1") || len(l.DNS) != 1 {
				t.Errorf("lease %+v", l)
			}
		})
	}
}

// An address without a router is good in the end, and the router is taken when
// it comes, and given up when it goes.
func TestDHCPv6BeforeTheRouter(t *testing.T) {
	p := router6(t)
	r := p.fakeRouter(t, "eth0p", nil)
	p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message { return f.polite(m, "2001:db8::7", time.Hour) })
	n := up(t, auto(t, "dhcp6"))
	if l := n.Lease(); l.String() != "2001:db8::7/128 (no route off the link), from fe80::1" {
		t.Errorf("lease %s", l)
	}
	r.say(advertisement)
	eventually(t, "the route of the router", func() bool { return n.Lease().OffLink() })
	if d := cmp.Diff([]string{"2001:db8::/64 on the link", "default via fe80::1"}, routes6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
	gone := flagged(0)
	gone[6], gone[7] = 0, 0
	r.say(gone)
	eventually(t, "no default route", func() bool { return !n.Lease().OffLink() })
	if d := cmp.Diff([]string{"2001:db8::/64 on the link"}, routes6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"2001:db8::7/64"}, addrs6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
}

// Lost messages are sent again in the same transaction; a server that refuses
// is asked anew.
func TestDHCPv6LossAndRefusal(t *testing.T) {
	p := router6(t)
	solicits, requests := 0, 0
	f := p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		switch m.MessageType {
		case dhcpv6.MessageTypeSolicit:
			if solicits++; solicits <= 2 {
				return nil
			}
		case dhcpv6.MessageTypeRequest:
			if requests++; requests == 1 {
				return nil
			} else if requests == 2 {
				return f.reply(m, dhcpv6.MessageTypeReply, "", 0, &dhcpv6.OptStatusCode{StatusCode: iana.StatusNotOnLink, StatusMessage: "not today"})
			}
		}
		return f.polite(m, "2001:db8::7", time.Hour)
	})
	p.fakeRouter(t, "eth0p", flagged(0x80))
	s := start(t, auto(t, "dhcp6"))
	s.wait(t)
	s.until(t, "NotOnLink: not today")
	if d := cmp.Diff([]string{"SOLICIT", "REQUEST", "REQUEST", "SOLICIT", "REQUEST"}, f.types()); d != "" {
		t.Error(d)
	}
	if f.seen[0].TransactionID != f.seen[2].TransactionID {
		t.Error("the transaction changed on the way")
	}
	if id, ok := f.seen[0].Options.ClientID().(*dhcpv6.DUIDLL); !ok || id.LinkLayerAddr.String() != macOf(t, "eth0").String() {
		t.Errorf("client id %s", f.seen[0].Options.ClientID())
	}
}

// One message each way, where the server can.
func TestDHCPv6RapidCommit(t *testing.T) {
	p := router6(t)
	f := p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		return f.reply(m, dhcpv6.MessageTypeReply, "2001:db8::7", time.Hour, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	})
	p.fakeRouter(t, "eth0p", flagged(0x80))
	up(t, auto(t, "dhcp6"))
	if d := cmp.Diff([]string{"SOLICIT"}, f.types()); d != "" {
		t.Error(d)
	}
}

// A short lease is renewed of its server, of every server after that, and all
// starts over when the address is taken back.
func TestDHCPv6RenewRebindLose(t *testing.T) {
	p := router6(t)
	renewed, lost := false, false
	f := p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		switch {
		case m.MessageType == dhcpv6.MessageTypeRenew && !renewed:
			renewed = true
		case m.MessageType == dhcpv6.MessageTypeRenew:
			return nil
		case m.MessageType == dhcpv6.MessageTypeRebind:
			lost = true
			return f.reply(m, dhcpv6.MessageTypeReply, "", 0, &dhcpv6.OptStatusCode{StatusCode: iana.StatusNoBinding})
		case lost:
			return f.polite(m, "2001:db8::8", time.Hour)
		}
		return f.polite(m, "2001:db8::7", 2*time.Second)
	})
	p.fakeRouter(t, "eth0p", flagged(0x80))
	s := start(t, auto(t, "dhcp6"))
	n := s.wait(t)
	s.until(t, "renewed for")
	s.until(t, "NoBinding")
	eventually(t, "a new address", func() bool { return n.Lease().Addr.Addr() == netip.MustParseAddr("2001:db8::8") })
	if d := cmp.Diff([]string{"2001:db8::8/64"}, addrs6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
	var kinds []string
	for _, k := range f.types() {
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if d := cmp.Diff([]string{"SOLICIT", "REQUEST", "RENEW", "REBIND"}, kinds); d != "" {
		t.Error(d)
	}
}

// A process that did not bring the network up keeps the lease alive.
func TestDHCPv6RenewByAnotherProcess(t *testing.T) {
	p := router6(t)
	f := p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		return f.polite(m, "2001:db8::7", 3*time.Second)
	})
	p.fakeRouter(t, "eth0p", flagged(0x80))
	n := start(t, auto(t, "dhcp6")).wait(t)
	l := n.Lease()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); Renew(ctx, l, nil, slog.New(slog.DiscardHandler), func(lease.Lease) {}) }()
	eventually(t, "three times as long", func() bool {
		rebound := 0
		for _, kind := range f.types() {
			if kind == "REBIND" {
				rebound++
			}
		}
		return rebound >= 3
	})
	if d := cmp.Diff([]string{"2001:db8::7/64"}, addrs6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
	cancel()
	<-done
}

// A network with a DHCPv6 server and without a router is asked all the same,
// after a while.
func TestDHCPv6WithoutRouter(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	p.fakeDHCP6(t, "eth0p", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message { return f.polite(m, "2001:db8::7", time.Hour) })
	s := start(t, auto(t, "auto6"))
	s.until(t, "no IPv6 router speaks, asking DHCPv6 servers")
	if l := s.wait(t).Lease(); l.Source != "dhcp6" || l.Addr.Addr().String() != "2001:db8::7" {
		t.Errorf("lease %s", l)
	}
}
