package netup

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"netstage/netup/lease"
)

func TestLeaseFromDnsmasq(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h",
		"--dhcp-option=option:mtu,1400",
		"--dhcp-option=option:dns-server,10.1.0.1,10.1.0.2",
		"--dhcp-option=option:domain-search,a.example,b.example",
		"--domain=c.example",
		"--dhcp-option=option:ntp-server,10.1.0.3",
		"--dhcp-match=set:ours,option:client-id",
		"--dhcp-vendorclass=set:vendor,netstage",
		"--dhcp-boot=tag:vendor,http://10.1.0.1/boot/boot.ipxe,tftp.example,10.1.0.4",
		"--dhcp-option=option:tftp-server,tftp.example")
	n := up(t, Options{})
	l := n.Lease()
	if got := l.Addr.Bits(); l.Addr.Addr().String()[:7] != "10.1.0." || got != 24 {
		t.Errorf("address %s", l.Addr)
	}
	ap := netip.MustParseAddr
	want := lease.Lease{
		Link: "eth0", DNS: []netip.Addr{ap("10.1.0.1"), ap("10.1.0.2")},
		Search: []string{"a.example", "b.example", "c.example"}, NTP: []netip.Addr{ap("10.1.0.3")},
		MTU: 1400, Server: ap("10.1.0.1"), Next: ap("10.1.0.4"), NextName: "tftp.example",
		BootFile: "http://10.1.0.1/boot/boot.ipxe", Time: time.Hour, T1: 30 * time.Minute, T2: 3150 * time.Second,
		Routes: []lease.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ap("10.1.0.1")}}, Source: "dhcp",
	}
	got := l
	got.Addr, got.Index, got.MAC, got.Acquired, got.Took, got.Host = netip.Prefix{}, 0, nil, time.Time{}, 0, ""
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{l.Addr.String()}) {
		t.Errorf("addresses %v", a)
	}
	if r := routesOf(t, "eth0"); !slices.Equal(r, []string{"default via 10.1.0.1", "10.1.0.0/24 on the link"}) {
		t.Errorf("routes %v", r)
	}
	if s := string(n.ResolvConf()); s != "search a.example b.example c.example\nnameserver 10.1.0.1\nnameserver 10.1.0.2\n" {
		t.Errorf("resolv.conf %q", s)
	}
	if m := mtuOf(t, "eth0"); m != 1400 {
		t.Errorf("mtu %d", m)
	}
	row := n.Links()[0]
	if row.Driver != "veth" || !row.Carrier || row.V4.State != "bound" || !row.Winner || row.V4.Address != l.Addr.String() {
		t.Errorf("row %+v", row)
	}
	if err := n.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, r := addrsOf(t, "eth0"), routesOf(t, "eth0"); len(a)+len(r) > 0 || isUp(t, "eth0") || mtuOf(t, "eth0") != 1500 {
		t.Errorf("after Down: addresses %v, routes %v, up %v, mtu %d", a, r, isUp(t, "eth0"), mtuOf(t, "eth0"))
	}
}

func TestServerStartsLate(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	s := start(t, Options{})
	s.until(t, "dhcp: send DISCOVER")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	if n := s.wait(t); !n.Lease().OffLink() {
		t.Errorf("lease %s", n.Lease())
	}
}

// A lost DISCOVER, a lost ACK: the same transaction goes on.
func TestLostMessages(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	discover, request := 0, 0
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		switch m.MessageType() {
		case dhcpv4.MessageTypeDiscover:
			if discover++; discover <= 2 {
				return nil
			}
		case dhcpv4.MessageTypeRequest:
			if request++; request <= 1 {
				return nil
			}
		}
		return f.polite(m, "10.1.0.9")
	})
	n := up(t, Options{VendorClass: "test-vendor", UserClass: "test-user", HostName: "web-1"})
	if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{"10.1.0.9/24"}) {
		t.Errorf("addresses %v", a)
	}
	if d := cmp.Diff([]string{"DISCOVER", "REQUEST", "REQUEST"}, f.types()); d != "" {
		t.Error(d)
	}
	discovers := f.got(dhcpv4.MessageTypeDiscover)
	ms := append(discovers, f.got(dhcpv4.MessageTypeRequest)...)
	for _, m := range ms {
		if m.TransactionID != ms[0].TransactionID {
			t.Error("the transaction changed on the way")
		}
		if m.ClassIdentifier() != "test-vendor" || !slices.Equal(m.UserClass(), []string{"test-user"}) {
			t.Errorf("classes %q %q", m.ClassIdentifier(), m.UserClass())
		}
		if m.HostName() != "web-1" {
			t.Errorf("host name %q", m.HostName())
		}
		if id := m.Options.Get(dhcpv4.OptionClientIdentifier); string(id) != "\x01"+string(n.Lease().MAC) {
			t.Errorf("client id %x", id)
		}
	}
	last := ms[len(ms)-1]
	if last.NumSeconds != discovers[len(discovers)-1].NumSeconds {
		t.Errorf("secs %d in the REQUEST, %d in the DISCOVER", last.NumSeconds, discovers[len(discovers)-1].NumSeconds)
	}
}

func TestNAKStartsOver(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	naks := 0
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if m.MessageType() == dhcpv4.MessageTypeRequest && naks < 2 {
			naks++
			return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeNak, "", dhcpv4.OptMessage("not today"))}
		}
		return f.polite(m, "10.1.0.9")
	})
	s := start(t, Options{})
	s.wait(t)
	if d := cmp.Diff([]string{"DISCOVER", "REQUEST", "DISCOVER", "REQUEST", "DISCOVER", "REQUEST"}, f.types()); d != "" {
		t.Error(d)
	}
	s.until(t, "not today")
}

// A second server that refuses what the first one gave has no say.
func TestForeignNAKIsIgnored(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		out := f.polite(m, "10.1.0.9")
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			nak := f.reply(m, dhcpv4.MessageTypeNak, "", dhcpv4.OptServerIdentifier([]byte{10, 1, 0, 2}))
			out = append([]*dhcpv4.DHCPv4{nak}, out...)
		}
		return out
	})
	up(t, Options{})
	if d := cmp.Diff([]string{"DISCOVER", "REQUEST"}, f.types()); d != "" {
		t.Error(d)
	}
}

func TestCarrierComesLate(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.unplug(t, "eth0")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	s := start(t, Options{Report: 20 * time.Millisecond})
	s.until(t, "still waiting: no carrier on eth0")
	if strings.Contains(s.log.String(), "DISCOVER") {
		t.Error("DHCP without carrier")
	}
	p.plug(t, "eth0")
	if l := s.wait(t).Lease(); !l.OffLink() {
		t.Errorf("lease %s", l)
	}
}

func TestBounceDuringDHCP(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	s := start(t, Options{})
	s.until(t, "dhcp: send DISCOVER")
	p.unplug(t, "eth0")
	s.until(t, "carrier lost")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	p.plug(t, "eth0")
	s.wait(t)
	if !strings.Contains(s.log.String(), "eth0: carrier\n") {
		t.Error("the return of the carrier is not logged")
	}
}

// Carrier goes and comes back after the lease: the same address is asked for.
func TestBounceAfterLease(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "10.1.0.9")
	})
	s := start(t, Options{})
	s.wait(t)
	p.unplug(t, "eth0")
	s.until(t, "carrier lost")
	p.plug(t, "eth0")
	eventually(t, "second lease", func() bool { return strings.Count(s.log.String(), "eth0: 10.1.0.9/24") == 2 })
	if d := cmp.Diff([]string{"DISCOVER", "REQUEST", "REQUEST"}, f.types()); d != "" {
		t.Error(d)
	}
	if r := routesOf(t, "eth0"); !slices.Contains(r, "default via 10.1.0.1") {
		t.Errorf("routes %v", r)
	}
}

func TestLateLinkJoins(t *testing.T) {
	p := newPeer(t)
	s := start(t, Options{Report: 20 * time.Millisecond})
	s.until(t, "still waiting for a network card")
	p.cable(t, "usb0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	if l := s.wait(t).Lease(); l.Link != "usb0" {
		t.Errorf("lease on %s", l.Link)
	}
}

func TestSilentAndUncabledLose(t *testing.T) {
	silent, uncabled, good := newPeer(t), newPeer(t), newPeer(t)
	silent.cable(t, "eth0", "")
	uncabled.cable(t, "eth1", "")
	uncabled.unplug(t, "eth1")
	good.cable(t, "eth2", "10.1.0.1/24")
	good.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	s := start(t, Options{})
	n := s.wait(t)
	if l := n.Lease(); l.Link != "eth2" {
		t.Errorf("lease on %s", l.Link)
	}
	eventually(t, "losers are down", func() bool { return !isUp(t, "eth0") && !isUp(t, "eth1") })
	if !isUp(t, "eth2") {
		t.Error("the winner is down")
	}
}

// A link that appears while another one asks in vain has its chance, and its
// carrier may come and go meanwhile.
func TestLateLinkWins(t *testing.T) {
	silent, good := newPeer(t), newPeer(t)
	silent.cable(t, "eth0", "")
	s := start(t, Options{})
	s.until(t, "eth0: dhcp: send DISCOVER")
	good.cable(t, "usb0", "10.1.0.1/24")
	s.until(t, "usb0: dhcp: send DISCOVER")
	good.unplug(t, "usb0")
	s.until(t, "usb0: carrier lost")
	good.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	good.plug(t, "usb0")
	n := s.wait(t)
	if l := n.Lease(); l.Link != "usb0" || !slices.Equal(addrsOf(t, "usb0"), []string{l.Addr.String()}) {
		t.Errorf("lease %s on %s, addresses %v", l, l.Link, addrsOf(t, "usb0"))
	}
	if r := routesOf(t, "usb0"); !slices.Equal(r, []string{"default via 10.1.0.1", "10.1.0.0/24 on the link"}) {
		t.Errorf("routes %v", r)
	}
	eventually(t, "the silent link is down", func() bool { return !isUp(t, "eth0") })
}

func TestClasslessRoutesWin(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h",
		"--dhcp-option=option:router,10.1.0.1",
		"--dhcp-option=option:classless-static-route,192.168.7.0/24,10.1.0.7,0.0.0.0/0,10.1.0.8,172.16.0.0/12,0.0.0.0")
	up(t, Options{})
	want := []string{"default via 10.1.0.8", "10.1.0.0/24 on the link", "172.16.0.0/12 on the link", "192.168.7.0/24 via 10.1.0.7"}
	if d := cmp.Diff(want, routesOf(t, "eth0")); d != "" {
		t.Error(d)
	}
}

// Clouds hand out a /32 and a gateway outside of it.
func TestGatewayOutsideTheSubnet(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "203.0.113.5", dhcpv4.OptSubnetMask([]byte{255, 255, 255, 255}))
	})
	up(t, Options{})
	if d := cmp.Diff([]string{"203.0.113.5/32"}, addrsOf(t, "eth0")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"default via 10.1.0.1", "10.1.0.1/32 on the link"}, routesOf(t, "eth0")); d != "" {
		t.Error(d)
	}
}
