package netup

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"netstage/netup/internal/plan"
	"netstage/netup/ipparam"
	"netstage/stage1/fault"
)

func config(t testing.TB, p ipparam.Params) ipparam.Config {
	t.Helper()
	c, err := ipparam.Parse(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func macOf(t testing.TB, name string) net.HardwareAddr {
	t.Helper()
	var mac net.HardwareAddr
	must(withLink(name, func(l netlink.Link) error { mac = l.Attrs().HardwareAddr; return nil }))
	return mac
}

func TestStaticAddress(t *testing.T) {
	other, p := newPeer(t), newPeer(t)
	other.cable(t, "eth0", "")
	p.cable(t, "eth1", "10.1.0.1/24")
	p.greeter(t, "10.1.0.1:8080")
	s := start(t, Options{Config: config(t, ipparam.Params{
		IP:         []string{"10.1.0.9:10.1.0.4:10.1.0.1:255.255.255.0:node7:eth1:none:10.1.0.3::10.1.0.5"},
		NameServer: []string{"10.1.0.2"},
		Route:      []string{"192.168.7.0/24:10.1.0.7", "192.168.8.0/24::eth1", "192.168.9.0/24:10.9.0.1"},
	})})
	n := s.wait(t)
	l := n.Lease()
	ap := netip.MustParseAddr
	if l.Source != "static" || l.Host != "node7" || l.Next != ap("10.1.0.4") || !slices.Equal(l.NTP, []netip.Addr{ap("10.1.0.5")}) {
		t.Errorf("lease %+v", l)
	}
	if got := string(n.ResolvConf()); got != "nameserver 10.1.0.2\nnameserver 10.1.0.3\n" {
		t.Errorf("resolv.conf %q", got)
	}
	if d := cmp.Diff([]string{"10.1.0.9/24"}, addrsOf(t, "eth1")); d != "" {
		t.Error(d)
	}
	want := []string{"default via 10.1.0.1", "10.1.0.0/24 on the link", "192.168.7.0/24 via 10.1.0.7", "192.168.8.0/24 on the link"}
	if d := cmp.Diff(want, routesOf(t, "eth1")); d != "" {
		t.Error(d)
	}
	c, err := n.DialContext(t.Context(), "tcp", "10.1.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if isUp(t, "eth0") || strings.Contains(s.log.String(), "DISCOVER") {
		t.Error("a link that ip= does not name took part")
	}
}

func TestStaticIPv6Address(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.do(t, func() error {
		a, _ := netlink.ParseAddr("2001:db8::1/64")
		a.Flags = 0x02 // no duplicate address detection
		return withLink("eth0p", func(l netlink.Link) error { return netlink.AddrAdd(l, a) })
	})
	p.greeter(t, "[2001:db8::1]:8080")
	n := up(t, Options{Config: config(t, ipparam.Params{IP: []string{"[2001:db8::9]::[2001:db8::1]:64::eth0:none:[2001:db8::3]"}})})
	c, err := Path{n.Lease()}.DialContext(t.Context(), "tcp", "[2001:db8::1]:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if g := n.Lease().Gateway(); g != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("gateway %s", g)
	}
	if got := string(n.ResolvConf()); got != "nameserver 2001:db8::3\n" {
		t.Errorf("resolv.conf %q", got)
	}
	var gw string
	must(withLink("eth0", func(l netlink.Link) error {
		list, err := netlink.RouteList(l, netlink.FAMILY_V6)
		for _, r := range list {
			if r.Gw != nil {
				gw += r.Gw.String()
			}
		}
		return err
	}))
	if gw != "2001:db8::1" {
		t.Errorf("default route via %q", gw)
	}
}

// BOOTIF= leaves only the link that the firmware booted from.
func TestBootIF(t *testing.T) {
	first, boot := newPeer(t), newPeer(t)
	first.cable(t, "eth0", "10.1.0.1/24")
	boot.cable(t, "eth1", "10.2.0.1/24")
	first.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	s := start(t, Options{Config: config(t, ipparam.Params{
		BootIF: []string{"01-" + strings.ReplaceAll(macOf(t, "eth1").String(), ":", "-")}})})
	s.until(t, "eth1: dhcp: send DISCOVER")
	boot.dnsmasq(t, "--port=0", "--dhcp-range=10.2.0.50,10.2.0.60,1h")
	if l := s.wait(t).Lease(); l.Link != "eth1" {
		t.Errorf("lease on %s", l.Link)
	}
}

// A BOOTIF= that no card has is given up after a while, with a warning.
func TestBootIFOfNoCard(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	s := start(t, Options{BootIFTimeout: 50 * time.Millisecond, Config: config(t, ipparam.Params{BootIF: []string{"01-52-54-00-00-00-99"}})})
	s.until(t, "no card has the address of BOOTIF=52:54:00:00:00:99")
	if l := s.wait(t).Lease(); l.Link != "eth0" {
		t.Errorf("lease on %s", l.Link)
	}
}

// Names that are to be swapped are, and a word then means one card.
func TestSwappedNames(t *testing.T) {
	wanted, other := newPeer(t), newPeer(t)
	other.cable(t, "eth0", "10.1.0.1/24")
	wanted.cable(t, "eth1", "10.2.0.1/24")
	other.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	wanted.dnsmasq(t, "--port=0", "--dhcp-range=10.2.0.50,10.2.0.60,1h")
	first, second := macOf(t, "eth0"), macOf(t, "eth1")
	s := start(t, Options{Config: config(t, ipparam.Params{
		IfName: []string{"eth0:" + second.String(), "eth1:" + first.String()}, IP: []string{"eth0:dhcp"},
	})})
	l := s.wait(t).Lease()
	if l.Link != "eth0" || l.MAC.String() != second.String() || !netip.MustParsePrefix("10.2.0.0/24").Contains(l.Addr.Addr()) {
		t.Errorf("lease %s on %s %s", l, l.Link, l.MAC)
	}
	if got := macOf(t, "eth1"); got.String() != first.String() {
		t.Errorf("eth1 is %s", got)
	}
	if strings.Contains(s.log.String(), "file exists") {
		t.Error("the names were in each other's way")
	}
}

// A card that ifname= does not name gives way to one that it does.
func TestNameOfAnotherCard(t *testing.T) {
	wanted, other := newPeer(t), newPeer(t)
	other.cable(t, "eth0", "")
	wanted.cable(t, "eth1", "10.2.0.1/24")
	wanted.dnsmasq(t, "--port=0", "--dhcp-range=10.2.0.50,10.2.0.60,1h")
	first, second := macOf(t, "eth0"), macOf(t, "eth1")
	s := start(t, Options{Config: config(t, ipparam.Params{IfName: []string{"eth0:" + second.String()}, IP: []string{"eth0:dhcp"}})})
	if l := s.wait(t).Lease(); l.Link != "eth0" || l.MAC.String() != second.String() {
		t.Errorf("lease on %s %s", l.Link, l.MAC)
	}
	if got := macOf(t, "eth2"); got.String() != first.String() {
		t.Errorf("eth2 is %s", got)
	}
	t.Cleanup(func() { must(withLink("eth2", netlink.LinkDel)) })
}

// Names, hardware address, MTU, host name and client id reach link and server.
func TestDHCPWithDetails(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "10.1.0.9", dhcpv4.OptDNS([]byte{10, 1, 0, 8}))
	})
	n := up(t, Options{Config: config(t, ipparam.Params{
		IP:         []string{"::::node7:lan0:dhcp,0,serial-7:1300:52:54:00:00:00:07"},
		IfName:     []string{"lan0:" + macOf(t, "eth0").String()},
		NameServer: []string{"10.1.0.3"},
		Route:      []string{"192.168.7.0/24:10.1.0.7:lan0"},
	})})
	t.Cleanup(func() { withLink("lan0", netlink.LinkDel) })
	if got := macOf(t, "lan0").String(); got != "52:54:00:00:00:07" || mtuOf(t, "lan0") != 1300 {
		t.Errorf("address %s, mtu %d", got, mtuOf(t, "lan0"))
	}
	m := f.got(dhcpv4.MessageTypeRequest)[0]
	if m.HostName() != "node7" || string(m.Options.Get(dhcpv4.OptionClientIdentifier)) != "\x00serial-7" || m.ClientHWAddr.String() != "52:54:00:00:00:07" {
		t.Errorf("%s", m.Summary())
	}
	if got := string(n.ResolvConf()); got != "nameserver 10.1.0.3\nnameserver 10.1.0.8\n" {
		t.Errorf("resolv.conf %q", got)
	}
	if r := routesOf(t, "lan0"); !slices.Contains(r, "192.168.7.0/24 via 10.1.0.7") {
		t.Errorf("routes %v", r)
	}
}

func TestPinnedLinkIsMissing(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	log, _ := logTo(t)
	_, err := Up(within(t), Options{Log: log, NoNICTimeout: 30 * time.Millisecond, Config: config(t, ipparam.Params{IP: []string{"eth7:dhcp"}})})
	e, ok := err.(*Error)
	if !ok || fault.ClassOf(e) != "no-nic" || !strings.Contains(e.Error(), "ip=eth7:dhcp") || len(fault.TriedOf(e)) != 1 || !strings.Contains(fault.TriedOf(e)[0], "eth0") {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	if _, err := Up(t.Context(), Options{Log: slog.New(slog.DiscardHandler), Config: config(t, ipparam.Params{IP: []string{"off"}})}); classify(err) != "bad-parameter" {
		t.Errorf("ip=off: %v", err)
	}
}

func TestPlanEntries(t *testing.T) {
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	for _, c := range []struct {
		p    ipparam.Params
		want string // the link eth0 with that address: methods, or none
	}{
		{ipparam.Params{}, "any"},
		{ipparam.Params{IP: []string{"dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"eth0:dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"eth1:dhcp"}}, ""},
		{ipparam.Params{IP: []string{"eth1:off"}}, "any"},
		{ipparam.Params{IP: []string{"eth0:off"}}, ""},
		{ipparam.Params{IP: []string{"eth1:dhcp", "dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"off", "eth0:dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"enx525400123456:dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"lan0:dhcp"}, IfName: []string{"lan0:52:54:00:12:34:56"}}, "dhcp"},
		{ipparam.Params{BootIF: []string{"01-52-54-00-12-34-56"}}, "any"},
		{ipparam.Params{BootIF: []string{"01-52-54-00-12-34-57"}}, ""},
		{ipparam.Params{BootIF: []string{"01-52-54-00-12-34-57"}, IP: []string{"eth0:dhcp"}}, "dhcp"},
		{ipparam.Params{IP: []string{"eth0:dhcp", "eth1:dhcp"}, BootDev: []string{"eth0"}}, "dhcp"},
		{ipparam.Params{IP: []string{"eth0:dhcp", "eth1:dhcp"}, BootDev: []string{"eth1"}}, ""},
		{ipparam.Params{IP: []string{"10.0.0.5:::24::eth0:none", "[fd00::5]:::::eth0:none"}}, "static static"},
	} {
		var got []string
		for _, e := range (plan.Plan{Config: config(t, c.p)}).EntriesOf("eth0", mac) {
			got = append(got, string(e.Method))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%+v: %q, want %q", c.p, s, c.want)
		}
	}
}

// What ip= gives besides DHCP goes before what the server says, as with the
// kernel's own autoconfiguration; and a peer is on the link.
func TestGivenBesideDHCP(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.50,1h")
	l := up(t, Options{Config: config(t, ipparam.Params{IP: []string{":10.1.0.3:10.1.0.2:255.255.0.0::eth0:dhcp"}})}).Lease()
	if l.String() != "10.1.0.50/16 via 10.1.0.2, from 10.1.0.1" || l.Next.String() != "10.1.0.3" {
		t.Errorf("%s, next server %s", l, l.Next)
	}
	if routes := strings.Join(routesOf(t, "eth0"), "\n"); !strings.Contains(routes, "via 10.1.0.2") || strings.Contains(routes, "via 10.1.0.1") {
		t.Error(routes)
	}
}

func TestPeerOnTheLink(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.9.0.1/16")
	up(t, Options{Config: config(t, ipparam.Params{IP: []string{"10.0.0.5:10.9.0.1/16:10.9.0.1:32::eth0:none"}})})
	routes := strings.Join(routesOf(t, "eth0"), "\n")
	if !strings.Contains(routes, "10.9.0.0/16 on the link") || !strings.Contains(routes, "default via 10.9.0.1") {
		t.Error(routes)
	}
}
