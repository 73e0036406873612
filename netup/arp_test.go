package netup

import (
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
	if len(declined) != 2 {
		t.Fatalf("%d declined", len(declined))
	}
	m := declined[0]
	if id, _ := netip.AddrFromSlice(m.ServerIdentifier()); id != f.server || m.RequestedIPAddress().String() != "10.1.0.9" || !m.ClientIPAddr.IsUnspecified() || len(m.Options) != 4 {
		t.Errorf("%s", m.Summary())
	}
}
