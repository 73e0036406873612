package slaac

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"github.com/vishvananda/netlink"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/rtnl"
)

// Whatever servers and routers say together makes a lease that the kernel, a
// resolv.conf and a console can take.
func FuzzLease6(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	r := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply}
	ia := &dhcpv6.OptIANA{Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{&dhcpv6.OptIAAddress{
		IPv6Addr: net.ParseIP("2001:db8::7"), PreferredLifetime: time.Hour, ValidLifetime: time.Hour,
	}}}}
	binary.BigEndian.PutUint32(ia.IaId[:], dhcp6.IAID(mac))
	r.AddOption(ia)
	r.AddOption(dhcpv6.OptDNS(net.ParseIP("2001:db8::3"), net.ParseIP("fe80::3")))
	r.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"a.example"}}))
	r.AddOption(dhcpv6.OptBootFileURL("http://a\x1b/b"))
	r.AddOption(dhcpv6.OptBootFileParam("a\nb", "c"))
	f.Add(r.ToBytes(), advertisement)
	f.Fuzz(func(t *testing.T, b, ra []byte) {
		r, err := dhcp6.Parse(b, dhcp6.IAID(mac))
		if err != nil || !r.Addr.IsValid() {
			return
		}
		now := time.Now()
		var rs routers
		if a, err := parseAdvert(ra, netip.MustParseAddr("fe80::1")); err == nil {
			rs = rs.update(a.receivedAt(now))
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
		for _, route := range rtnl.Routes(l, 1) {
			if p, ok := rtnl.PrefixOf(route.Dst); !ok || p != p.Masked() || (route.Gw == nil) != (route.Scope == netlink.SCOPE_LINK) {
				t.Errorf("route %s", rtnl.RouteText(route))
			}
		}
	})
}
