package netup

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"netstage/netup/internal/slaac"
	"netstage/netup/ipparam"
)

// routerAddrs gives the peer's end addresses that need no waiting for.
func (p *peer) routerAddrs(t testing.TB, link string, addrs ...string) {
	t.Helper()
	p.do(t, func() error {
		return withLink(link, func(l netlink.Link) error {
			for _, s := range addrs {
				a, err := netlink.ParseAddr(s)
				if err != nil {
					return err
				}
				a.Flags = 0x02 // no duplicate address detection
				if err := netlink.AddrAdd(l, a); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func TestRouterAdvertisement(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	p.dnsmasq(t, "--interface=eth0p", "--enable-ra", "--dhcp-range=2001:db8::,ra-stateless,64,1h",
		"--ra-param=eth0p,mtu:1400,4", "--dhcp-option=option6:dns-server,[2001:db8::1]",
		"--dhcp-option=option6:domain-search,a.example", "--address=/image.test/2001:db8::1")
	p.greeter(t, "[2001:db8::1]:8080")
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"auto6"}})})
	n := s.wait(t)
	l := n.Lease()
	want := netip.PrefixFrom(slaac.EUI64(netip.MustParseAddr("2001:db8::"), macOf(t, "eth0")), 64)
	if l.Source != "ra" || l.Addr != want || !l.Gateway().IsLinkLocalUnicast() || l.MTU != 1400 || l.Time < 30*time.Minute {
		t.Errorf("lease %+v", l)
	}
	if got := string(n.ResolvConf()); got != "search a.example\nnameserver 2001:db8::1\n" {
		t.Errorf("resolv.conf %q", got)
	}
	c, err := n.DialContext(t.Context(), "tcp", "image.test:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var got []string
	must(withLink("eth0", func(nl netlink.Link) error {
		list, err := netlink.AddrList(nl, netlink.FAMILY_V6)
		for _, a := range list {
			got = append(got, a.IPNet.String())
		}
		return err
	}))
	slices.Sort(got)
	if len(got) != 2 || got[0] != want.String() || !strings.HasPrefix(got[1], "fe80::") {
		t.Errorf("addresses %v", got)
	}
	if err := n.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(withLink("eth0", func(nl netlink.Link) error {
		list, err := netlink.AddrList(nl, netlink.FAMILY_V6)
		if len(list) > 0 {
			t.Errorf("after Down: %v", list)
		}
		return err
	}))
}

func TestRouterComesLate(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"eth0:auto6"}}), Report: 10 * time.Millisecond})
	s.until(t, "soliciting a router")
	p.dnsmasq(t, "--port=0", "--interface=eth0p", "--enable-ra", "--dhcp-range=2001:db8::,ra-only,64,1h")
	if l := s.wait(t).Lease(); !l.OffLink() {
		t.Errorf("lease %s", l)
	}
}

// A prefix that the router does not mention goes on; one that it takes back is
// given up, with its address, and another is taken.
func TestRenumbering(t *testing.T) {
	p := router6(t)
	r := p.fakeRouter(t, "eth0p", advertisement)
	s := start(t, auto(t, "auto6"))
	n := s.wait(t)
	old := n.Lease()
	other := slices.Clone(advertisement)
	other[16+16+7] = 1 // 2001:db8:0:1::/64
	// As routers do, this one repeats itself.
	eventually(t, "an address of the other prefix too", func() bool {
		r.say(advertisement[:16])
		r.say(other)
		return len(n.Lease().More) == 1
	})
	if l := n.Lease(); l.Addr != old.Addr || len(addrs6Of(t, "eth0")) != 2 {
		t.Errorf("lease %s, addresses %v", l, addrs6Of(t, "eth0"))
	}
	back := slices.Clone(advertisement)
	copy(back[16+4:], make([]byte, 8)) // no life is left
	eventually(t, "the old prefix's end", func() bool {
		r.say(back)
		l := n.Lease()
		return l.Addr.IsValid() && l.Addr.Addr() != old.Addr.Addr()
	})
	if a := addrs6Of(t, "eth0"); len(a) != 1 || a[0] == old.Addr.String() {
		t.Errorf("addresses %v", a)
	}
	if d := cmp.Diff([]string{n.Lease().Addr.Masked().String() + " on the link", "default via fe80::1"}, routes6Of(t, "eth0")); d != "" {
		t.Error(d)
	}
}

// advertisement of prefix 2001:db8::/64, with DNS, search list and MTU.
var advertisement = append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0,
	3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	5, 1, 0, 0, 0, 0, 5, 0x78,
	31, 2, 0, 0, 0, 0, 14, 16, 1, 'a', 1, 'b', 0, 0, 0, 0,
	25, 3, 0, 0, 0, 0, 14, 16}, netip.MustParseAddr("2001:db8::3").AsSlice()...)
