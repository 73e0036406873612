package netup

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"netstage/netup/ipparam"
)

// An address that another host has is declined, and the server gives another.
func TestDuplicateAddress(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.bridge(t, "10.1.0.1/24", "eth0p")
	p.neighbour(t, "10.1.0.50/24")
	p.dnsmasq(t, "--port=0", "--interface=br0", "--dhcp-range=10.1.0.51,10.1.0.60,1h", "--dhcp-host="+macOf(t, "eth0").String()+",10.1.0.50")
	s := start(t, Options{})
	n := s.wait(t)
	s.until(t, " already has the address 10.1.0.50")
	eventually(t, "another address", func() bool { l := n.Lease(); return l.Addr.IsValid() && l.Addr.String() != "10.1.0.50/24" })
	if a := addrsOf(t, "eth0"); len(a) != 1 || a[0] == "10.1.0.50/24" {
		t.Errorf("addresses %v", a)
	}
	if r := routesOf(t, "eth0"); !slices.Contains(r, "default via 10.1.0.1") {
		t.Errorf("routes %v", r)
	}
}

// So is one by DHCPv6.
func TestDuplicateAddress6(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.bridge(t, "10.1.0.1/24", "eth0p")
	p.routerAddrs(t, "br0", "2001:db8::1/64", "fe80::1/64")
	p.neighbour(t, "2001:db8::50/64")
	p.dnsmasq(t, "--port=0", "--interface=br0", "--enable-ra", "--dhcp-range=2001:db8::51,2001:db8::60,64,1h",
		"--dhcp-host=id:00:03:00:01:"+macOf(t, "eth0").String()+",[2001:db8::50]")
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"dhcp6"}})})
	n := s.wait(t)
	s.until(t, " already has the address 2001:db8::50")
	eventually(t, "another address", func() bool { l := n.Lease(); return l.Addr.IsValid() && l.Addr.String() != "2001:db8::50/64" })
	if a := addrs6Of(t, "eth0"); len(a) != 1 || a[0] == "2001:db8::50/64" {
		t.Errorf("addresses %v", a)
	}
	if !n.Lease().OffLink() {
		t.Errorf("lease %s", n.Lease())
	}
}

// Where every address is somebody's, as with a router that answers for all, the
// boot goes on all the same.
func TestEveryAddressIsTaken(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.bridge(t, "10.1.0.1/24", "eth0p")
	p.neighbour(t, "10.1.0.9/24")
	f := p.fakeDHCP(t, "br0", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 { return f.polite(m, "10.1.0.9") })
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
	n := s.wait(t)
	s.until(t, "10.1.0.9 is taken without asking")
	eventually(t, "the address", func() bool { return n.Lease().Addr.IsValid() })
	declined := f.got(dhcpv4.MessageTypeDecline)
	if len(declined) != declines {
		t.Fatalf("%d declined", len(declined))
	}
	m := declined[0]
	if id, _ := addr4(m.ServerIdentifier()); id != f.server || m.RequestedIPAddress().String() != "10.1.0.9" || !m.ClientIPAddr.IsUnspecified() || len(m.Options) != 4 {
		t.Errorf("%s", m.Summary())
	}
}

func FuzzNeighbour(f *testing.F) {
	addr := netip.MustParseAddr("2001:db8::50")
	f.Add(append(append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, addr.AsSlice()...), 2, 1, 2, 0, 0, 0, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if mac := neighbour(b, addr); mac != nil && (len(mac) != 6 || !bytes.Contains(b, mac) || !bytes.Contains(b, addr.AsSlice())) {
			t.Errorf("%s", mac)
		}
	})
}

func FuzzHolder(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 1, 0, 9, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if mac := holder(b, netip.MustParseAddr("10.1.0.9")); mac != nil && (len(mac) != 6 || !bytes.Contains(b, mac)) {
			t.Errorf("%s", mac)
		}
	})
}
