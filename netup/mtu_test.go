package netup

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
)

// A DHCP server's MTU that is less than IPv6 takes is the IPv4 routes': the
// link keeps IPv6, and the boot that goes by it.
func TestSmallMTUKeepsIPv6(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	p.greeter(t, "[2001:db8::1]:8080")
	p.dnsmasq(t, "--port=0", "--interface=eth0p", "--enable-ra", "--dhcp-range=2001:db8::,ra-only,64,1h",
		"--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-option=option:mtu,1000")
	s := start(t, Options{Prove: reaches("[2001:db8::1]:8080")})
	n := s.wait(t)
	eventually(t, "both leases", func() bool { return len(n.board.leases()) == 2 })
	if m := mtuOf(t, "eth0"); m != 1500 {
		t.Errorf("the link's mtu is %d", m)
	}
	must(withLink("eth0", func(l netlink.Link) error {
		routes, err := netlink.RouteList(l, netlink.FAMILY_V4)
		for _, r := range routes {
			if r.MTU != 1000 {
				t.Errorf("%s has mtu %d", r, r.MTU)
			}
		}
		if len(routes) != 2 {
			t.Errorf("routes %v", routes)
		}
		return err
	}))
	if a := addrs6Of(t, "eth0"); len(a) != 1 {
		t.Errorf("addresses %v", a)
	}
	if text := string(n.Networkd().Network()); !strings.Contains(text, "RouteMTUBytes=1000\n") || strings.Contains(text, "\nMTUBytes=") {
		t.Error(text)
	}
}

// What the operator says is the link's.
func TestSmallMTUOfTheOperator(t *testing.T) {
	l := plan.Plan{}.Amend(lease.Lease{Addr: netip.MustParsePrefix("10.1.0.9/24"), RouteMTU: 900}, ipparam.Entry{MTU: 1000})
	if l.MTU != 1000 || l.RouteMTU != 0 {
		t.Errorf("%+v", l)
	}
}

// The link's MTU shrinks between reading it and setting IPv6's, as when both
// families come by their leases at once.
func TestIPv6MTUWhileTheLinkShrinks(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	must(withLink("eth0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1400) }))
	must(setUp("eth0"))
	sysfs := t.TempDir()
	must(os.MkdirAll(sysfs+"/class/net/eth0", 0o755))
	file := sysfs + "/class/net/eth0/mtu"
	must(unix.Mkfifo(file, 0o644))
	go func() { // what the first reader sees is old
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		must(err)
		must(os.WriteFile(file+".new", []byte("1400\n"), 0o644))
		must(os.Rename(file+".new", file))
		f.WriteString("1500\n")
		f.Close()
	}()
	log, lines := logTo(t)
	rtnl.SetMTU6(log, sysfs, "eth0", 1500)
	if m, err := rtnl.ReadSetting("/proc/sys/net/ipv6/conf/eth0/mtu"); err != nil || m != "1400" || strings.Contains(lines.String(), "refused") {
		t.Errorf("IPv6's mtu is %s, %v", m, err)
	}
}
