package netup

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"github.com/vishvananda/netlink"

	"netstage/netup/dhcp6"
)

// Whatever servers and routers say together makes a lease that the kernel, a
// resolv.conf and a console can take.
func FuzzLease6(f *testing.F) {
	server := &fakeDHCP6{duid: &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	m, err := dhcpv6.MessageFromBytes(dhcp6.Query{Type: dhcp6.Request, Client: dhcp6.DUID(mac), Address: true, IAID: dhcp6.IAID(mac)}.Bytes())
	must(err)
	f.Add(server.polite(m, "2001:db8::7", time.Hour, dhcpv6.OptDNS(net.ParseIP("2001:db8::3"), net.ParseIP("fe80::3")),
		dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"a.example"}}), dhcpv6.OptBootFileURL("http://a\x1b/b"),
		dhcpv6.OptBootFileParam("a\nb", "c")).ToBytes(), advertisement)
	f.Fuzz(func(t *testing.T, b, ra []byte) {
		r, err := dhcp6.Parse(b, dhcp6.IAID(mac))
		if err != nil || !r.Addr.IsValid() {
			return
		}
		now := time.Now()
		var rs routers
		if a, err := parseAdvert(ra, netip.MustParseAddr("fe80::1")); err == nil {
			rs = rs.take(a.heard(now))
		}
		l := rs.leased(r, now, "eth0", now)
		if !dhcp6.Usable(l.Addr.Addr()) || l.T1 > l.T2 || l.T2 > l.Time {
			t.Errorf("lease %+v", l)
		}
		if strings.Count(string(l.ResolvConf()), "\n") > len(l.DNS)+1 {
			t.Errorf("resolv.conf %q", l.ResolvConf())
		}
		for _, s := range append([]string{l.BootFile, l.Host, l.String()}, l.BootParams...) {
			if strings.ContainsAny(s, "\n\x00\x1b") {
				t.Errorf("control characters in %q", s)
			}
		}
		for _, route := range kernelRoutes(l, 1) {
			if p, ok := prefixOf(route.Dst); !ok || p != p.Masked() || (route.Gw == nil) != (route.Scope == netlink.SCOPE_LINK) {
				t.Errorf("route %s", routeText(route))
			}
		}
	})
}
