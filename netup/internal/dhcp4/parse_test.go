package dhcp4

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

func ack(mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
		dhcpv4.WithYourIP([]byte{10, 0, 0, 9}),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier([]byte{10, 0, 0, 1})),
		dhcpv4.WithNetmask([]byte{255, 255, 255, 0}),
		dhcpv4.WithRouter([]byte{10, 0, 0, 1}),
		dhcpv4.WithLeaseTime(3600),
	}, mods...)...)
	if err != nil {
		panic(err)
	}
	m.OpCode = dhcpv4.OpcodeBootReply
	return m
}

func TestLeaseOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		mods []dhcpv4.Modifier
		want func(lease.Lease) bool
	}{
		{"absurd mtu", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68})}, func(l lease.Lease) bool { return l.MTU == 0 }},
		{"short mtu", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{5})}, func(l lease.Lease) bool { return l.MTU == 0 }},
		{"no mask", []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)}, func(l lease.Lease) bool { return l.Addr.Bits() == 8 }},
		{"holes in the mask", []dhcpv4.Modifier{dhcpv4.WithNetmask([]byte{255, 0, 255, 0})}, func(l lease.Lease) bool { return l.Addr.Bits() == 8 }},
		{"truncated routes fall back to the router", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{24, 10, 1})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.1") }},
		{"old Microsoft routes", []dhcpv4.Modifier{dhcpv4.WithGeneric(optMSRoutes, []byte{0, 10, 0, 0, 7})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.7") }},
		{"a cache of images", []dhcpv4.Modifier{dhcpv4.WithGeneric(optCache, []byte("http://192.0.2.10:8080/\x00"))},
			func(l lease.Lease) bool { return l.Cache == "http://192.0.2.10:8080/" }},
		{"no lease time", []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionIPAddressLeaseTime)},
			func(l lease.Lease) bool { return l.Time == time.Hour && l.T1 == 30*time.Minute }},
		{"a lease of no time", []dhcpv4.Modifier{dhcpv4.WithLeaseTime(0)}, func(l lease.Lease) bool { return l.Time == time.Hour && l.T1 == 30*time.Minute }},
		{"no router", []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionRouter)}, func(l lease.Lease) bool { return !l.OffLink() && l.Demoted() }},
		{"a router that no host can be", []dhcpv4.Modifier{dhcpv4.WithRouter([]byte{0, 0, 0, 0})}, func(l lease.Lease) bool { return !l.OffLink() }},
		{"routes of no default", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{8, 10, 10, 0, 0, 7})},
			func(l lease.Lease) bool { return l.OffLink() && !l.Gateway().IsValid() && len(l.Routes) == 1 }},
		{"routes of 33 bits", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{33, 10, 0, 0, 0, 1, 10, 0, 0, 7})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.1") }},
		{"empty routes", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, nil)},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.1") }},
		{"vendor options of any bytes", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{255, 0, 1, 255})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.1") }},
		{"endless", []dhcpv4.Modifier{dhcpv4.WithLeaseTime(0xffffffff)}, func(l lease.Lease) bool { return l.Time == 0 }},
		{"T1 after T2", []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(2 * time.Hour))},
			func(l lease.Lease) bool { return l.T1 < l.T2 && l.T2 < l.Time }},
		{"a second line in the domain", []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptDomainName("a.example\nnameserver 6.6.6.6"))},
			func(l lease.Lease) bool { return strings.Count(string(l.ResolvConf()), "\n") == 0 }},
		{"boot file field", []dhcpv4.Modifier{func(m *dhcpv4.DHCPv4) { m.BootFileName = "pxe.0" }}, func(l lease.Lease) bool { return l.BootFile == "pxe.0" }},
		{"CR LF at the end", []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptBootFileName("http://h/a.ipxe\r\n"))}, func(l lease.Lease) bool { return l.BootFile == "http://h/a.ipxe" }},
		{"CR LF at the end of the field", []dhcpv4.Modifier{func(m *dhcpv4.DHCPv4) { m.BootFileName = "pxe.0\r\n" }}, func(l lease.Lease) bool { return l.BootFile == "pxe.0" }},
		{"six bytes of name servers", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionDomainNameServer, []byte{10, 0, 0, 2, 10, 0})},
			func(l lease.Lease) bool { return len(l.DNS) == 1 && l.DNS[0] == netip.MustParseAddr("10.0.0.2") }},
		{"six bytes of routers", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionRouter, []byte{10, 0, 0, 7, 10, 0})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.7") }},
		{"the last route is cut", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{0, 10, 0, 0, 7, 24, 10, 1})},
			func(l lease.Lease) bool { return l.Gateway() == netip.MustParseAddr("10.0.0.7") }},
		{"two routers", []dhcpv4.Modifier{dhcpv4.WithRouter([]byte{10, 0, 0, 7}, []byte{10, 0, 0, 8})},
			func(l lease.Lease) bool {
				by := l.By(netip.MustParseAddr("10.0.0.8"))
				return l.Gateway().String() == "10.0.0.7" && by.Gateway().String() == "10.0.0.8" && by.By(by.Gateways[0]).Gateway() == l.Gateway()
			}},
		{"two default routes", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{0, 10, 0, 0, 7, 0, 10, 0, 0, 8})},
			func(l lease.Lease) bool {
				return len(l.Routes) == 1 && len(l.Gateways) == 1 && l.Gateway().String() == "10.0.0.7"
			}},
		{"NUL at the end", []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptBootFileName("a\x00"))}, func(l lease.Lease) bool { return l.BootFile == "a" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Parse(ack(c.mods...))
			if err != nil || !c.want(l) {
				t.Errorf("%v %+v", err, l)
			}
		})
	}
	for _, addr := range [][]byte{{0, 0, 0, 0}, {255, 255, 255, 255}, {224, 0, 0, 1}, {127, 0, 0, 1}} {
		if l, err := Parse(ack(dhcpv4.WithYourIP(addr))); err == nil {
			t.Errorf("address %v accepted: %s", addr, l)
		}
	}
}

func FuzzLease(f *testing.F) {
	f.Add(ack().ToBytes())
	f.Add(ack(dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{24, 192, 168, 7, 10, 0, 0, 7, 0, 10, 0, 0, 8, 12, 172, 16, 0, 0, 0, 0}),
		dhcpv4.WithDomainSearchList("a.example", "b.example"), dhcpv4.WithDNS([]byte{10, 0, 0, 1})).ToBytes())
	f.Add(ack(dhcpv4.WithGeneric(dhcpv4.OptionDNSDomainSearchList, []byte{3, 'f', 'o', 'o', 0xc0, 0, 0xc0, 4})).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(first(normalise(b, netip.MustParseAddr("10.0.0.1"))))
		if err != nil {
			return
		}
		l, err := Parse(m)
		if err != nil {
			return
		}
		if !l.Addr.IsValid() || !usable(l.Addr.Addr()) || !usable(l.Server) {
			t.Errorf("unusable lease %+v", l)
		}
		if l.Time != 0 && (l.T1 <= 0 || l.T1 > l.T2 || l.T2 > l.Time) {
			t.Errorf("times %v %v %v", l.Time, l.T1, l.T2)
		}
		if n := len(l.DNS) + len(l.Search); strings.Count(string(l.ResolvConf()), "\n") > n {
			t.Errorf("resolv.conf %q", l.ResolvConf())
		}
		for _, s := range []string{l.BootFile, l.NextName, l.Host, l.String()} {
			if strings.ContainsAny(s, "\n\x00\x1b") {
				t.Errorf("control characters in %q", s)
			}
		}
		for _, r := range rtnl.Routes(l, 1) {
			if p, ok := rtnl.PrefixOf(r.Dst); !ok || p != p.Masked() || (r.Gw == nil) != (r.Scope == netlink.SCOPE_LINK) {
				t.Errorf("route %s", rtnl.RouteText(r))
			}
		}
	})
}

// What is of no use is told, with its number.
func TestOddOptions(t *testing.T) {
	m := ack(dhcpv4.WithGeneric(dhcpv4.OptionDomainNameServer, []byte{10, 0, 0, 2, 10, 0}),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{5}), dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{24, 10, 1}))
	want := "option 6 has 6 bytes; option 26 has 1 bytes; option 121 is cut short"
	if got := strings.Join(malformed(m), "; "); got != want {
		t.Error(got)
	}
	if got := malformed(ack()); len(got) > 0 {
		t.Error(got)
	}
}
