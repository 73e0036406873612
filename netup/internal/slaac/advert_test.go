package slaac

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/rtnl"
)

// advertisement of prefix 2001:db8::/64, with DNS, search list and MTU.
var advertisement = append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0,
	3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	5, 1, 0, 0, 0, 0, 5, 0x78,
	31, 2, 0, 0, 0, 0, 14, 16, 1, 'a', 1, 'b', 0, 0, 0, 0,
	25, 3, 0, 0, 0, 0, 14, 16}, netip.MustParseAddr("2001:db8::3").AsSlice()...)

func TestAdvertOptions(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	router := netip.MustParseAddr("fe80::1")
	change := func(at int, v byte) []byte {
		b := slices.Clone(advertisement)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name string
		msg  []byte
		want string // the lease, or the complaint
	}{
		{"whole", advertisement, "2001:db8::5054:ff:fe12:3456/64 via fe80::1, dns 2001:db8::3, from fe80::1"},
		{"not on the link", change(19, 0x40), "2001:db8::5054:ff:fe12:3456/128 via fe80::1"},
		{"no autoconfiguration", change(19, 0x80), "<nil>, managed false"},
		{"left to DHCPv6", append(change(19, 0x80)[:5:5], append([]byte{0x80}, advertisement[6:16]...)...), "<nil>, managed true"},
		{"preferred for longer than valid", change(24, 0x7f), "<nil>, managed false"},
		{"another type", change(0, 133), "no router advertisement"},
		{"option of no length", change(17, 0), "cut short"},
		{"cut short", advertisement[:20], "cut short"},
	} {
		a, err := parseAdvert(c.msg, router)
		a = a.receivedAt(time.Now())
		got := fmt.Sprintf("%v, managed %v", err, a.managed)
		if l, ok := (routers{a}).slaac("eth0", mac, a.at); err == nil && ok {
			got = l.String()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	if _, err := parseAdvert(advertisement, netip.MustParseAddr("2001:db8::1")); err == nil {
		t.Error("an advertisement from afar is accepted")
	}
}

// A name server goes on where it is not mentioned, and ends where it is given
// no more time (RFC 8106 section 5.1).
func TestNameServerThatIsTakenBack(t *testing.T) {
	router, at := netip.MustParseAddr("fe80::1"), time.Now()
	hear := func(b []byte) advert {
		a, err := parseAdvert(b, router)
		if err != nil {
			t.Fatal(err)
		}
		return a.receivedAt(at)
	}
	back := slices.Clone(advertisement)
	clear(back[len(back)-20 : len(back)-16]) // its lifetime
	rs := routers{}.update(hear(advertisement)).update(hear(advertisement[:16]))
	if l := rs.routing("eth0", at); len(l.DNS) != 1 {
		t.Errorf("not mentioned: %v", l.DNS)
	}
	if l := rs.update(hear(back)).routing("eth0", at); len(l.DNS) != 0 {
		t.Errorf("taken back: %v", l.DNS)
	}
}

func FuzzAdvert(f *testing.F) {
	f.Add(advertisement)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAdvert(b, netip.MustParseAddr("fe80::1"))
		if err != nil {
			return
		}
		a = a.receivedAt(time.Now())
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
		l, ok := (routers{a}).slaac("eth0", mac, a.at)
		if !ok {
			l = routers{a}.leased(dhcp6.Reply{Addr: netip.MustParseAddr("2001:db8::5")}, a.at, "eth0", a.at)
		}
		if !l.Addr.Addr().Is6() || l.Addr.Addr().IsLinkLocalUnicast() || l.Addr.Addr().IsMulticast() {
			t.Errorf("address %s", l.Addr)
		}
		if strings.Count(string(l.ResolvConf()), "\n") > len(l.DNS)+1 {
			t.Errorf("resolv.conf %q", l.ResolvConf())
		}
		for _, r := range rtnl.Routes(l, 1) {
			if _, ok := rtnl.PrefixOf(r.Dst); !ok {
				t.Errorf("route %s", rtnl.RouteText(r))
			}
		}
	})
}
