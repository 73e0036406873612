package netup

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// radvd starts the real router advertisement daemon in the peer's namespace.
func (p *peer) radvd(t testing.TB, conf string) {
	t.Helper()
	path, err := exec.LookPath("radvd")
	if err != nil {
		path = "/usr/sbin/radvd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs radvd")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "radvd.conf")
	must(os.WriteFile(file, []byte(conf), 0o644))
	p.do(t, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644) })
	var lines lockedLines
	cmd := exec.Command(path, "--nodaemon", "--config", file, "--pidfile", filepath.Join(dir, "pid"), "--logmethod", "stderr")
	cmd.Stderr = &lines
	p.do(t, cmd.Start)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log("radvd: " + lines.String())
		}
	})
}

// reaches proves a lease by a connection to addr.
func reaches(addr string) func(context.Context, lease.Lease) error {
	return func(ctx context.Context, l lease.Lease) error {
		c, err := Path{l}.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// site is a switch with two routers, of which only the second, 10.1.0.2, leads
// to 10.9.0.1 and 2001:db8:9::1.
func site(t testing.TB) (dead, good *peer) {
	t.Helper()
	dead = newPeer(t)
	dead.cable(t, "eth0", "")
	dead.bridge(t, "10.1.0.1/24", "eth0p")
	good = dead.neighbour(t, "10.1.0.2/24")
	good.do(t, func() error {
		return withLink("lo", func(l netlink.Link) error {
			a, _ := netlink.ParseAddr("10.9.0.1/32")
			b, _ := netlink.ParseAddr("2001:db8:9::1/128")
			b.Flags = unix.IFA_F_NODAD
			return errors.Join(netlink.AddrAdd(l, a), netlink.AddrAdd(l, b))
		})
	})
	return dead, good
}

// The faster one of two DHCP servers leads nowhere: the other one's lease wins.
func TestAnotherServer(t *testing.T) {
	dead, good := site(t)
	good.greeter(t, "10.9.0.1:8080")
	dead.dnsmasq(t, "--port=0", "--interface=br0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	good.dnsmasq(t, "--port=0", "--interface=nic", "--dhcp-range=10.1.0.150,10.1.0.160,1h", "--dhcp-reply-delay=1")
	var mu sync.Mutex
	seen := map[string]string{} // the address by state
	s := start(t, Options{Prove: reaches("10.9.0.1:8080"), ProveTimeout: 300 * time.Millisecond, Config: config(t, ipparam.Params{IP: []string{"dhcp"}}),
		Every: 2 * time.Millisecond, Watch: func(links []linktable.Row) {
			mu.Lock()
			defer mu.Unlock()
			if len(links) == 1 {
				seen[links[0].V4.State] = links[0].V4.Address
			}
		}})
	l := s.wait(t).Lease()
	if l.Server != netip.MustParseAddr("10.1.0.2") || l.Gateway() != l.Server {
		t.Errorf("lease %s", l)
	}
	// The table tells one who holds a lease from one who has none.
	mu.Lock()
	if held := seen[linktable.Looking]; !strings.HasPrefix(held, "10.1.0.5") && !strings.HasPrefix(held, "10.1.0.60/") || seen["discovering"] != "" {
		t.Errorf("the address by state: %q", seen)
	}
	mu.Unlock()
	if a := addrsOf(t, "eth0"); len(a) != 1 || a[0] != l.Addr.String() {
		t.Errorf("addresses %v", a)
	}
	s.until(t, "led nowhere, trying")
}

// The first router of option 3 leads nowhere.
func TestAnotherGateway(t *testing.T) {
	dead, good := site(t)
	good.greeter(t, "10.9.0.1:8080")
	dead.dnsmasq(t, "--port=0", "--interface=br0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-option=option:router,10.1.0.200,10.1.0.1,10.1.0.2")
	s := start(t, Options{Prove: reaches("10.9.0.1:8080"), ProveTimeout: 300 * time.Millisecond, Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
	if l := s.wait(t).Lease(); l.Gateway() != netip.MustParseAddr("10.1.0.2") {
		t.Errorf("lease %s", l)
	}
	if r := routesOf(t, "eth0"); len(r) != 2 || r[0] != "default via 10.1.0.2" && r[1] != "default via 10.1.0.2" {
		t.Errorf("routes %v", r)
	}
}

// The router of the highest preference leads nowhere (RFC 4861 section 6.3.6).
func TestAnotherRouter(t *testing.T) {
	dead, good := site(t)
	dead.routerAddrs(t, "br0", "2001:db8::1/64", "fe80::1/64")
	good.routerAddrs(t, "nic", "2001:db8::2/64", "fe80::2/64")
	good.greeter(t, "[2001:db8:9::1]:8080")
	conf := func(link, preference string) string {
		return "interface " + link + " { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference " + preference + "; AdvDefaultLifetime 300; prefix 2001:db8::/64 { }; };"
	}
	dead.radvd(t, conf("br0", "high"))
	good.radvd(t, conf("nic", "medium"))
	s := start(t, Options{Prove: reaches("[2001:db8:9::1]:8080"), ProveTimeout: 300 * time.Millisecond, Config: config(t, ipparam.Params{IP: []string{"auto6"}})})
	l := s.wait(t).Lease()
	if gw := l.Gateway().String(); gw == "fe80::1" || !l.OffLink() {
		t.Errorf("lease %s", l)
	}
}

// The first of two DHCPv6 servers gives an address that no answer comes back
// to.
func TestAnotherServer6(t *testing.T) {
	dead, good := site(t)
	dead.routerAddrs(t, "br0", "fe80::1/64")
	good.routerAddrs(t, "nic", "2001:db8::2/64", "fe80::2/64")
	good.greeter(t, "[2001:db8:9::1]:8080")
	good.radvd(t, `interface nic { AdvSendAdvert on; AdvManagedFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 300;
		prefix 2001:db8::/64 { AdvAutonomous off; }; };`)
	dead.fakeDHCP6(t, "br0", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		return f.polite(m, "2001:db8:dead::7", time.Hour)
	})
	s := start(t, Options{Prove: reaches("[2001:db8:9::1]:8080"), ProveTimeout: 3 * time.Second, Config: config(t, ipparam.Params{IP: []string{"dhcp6"}})})
	s.until(t, "eth0: 2001:db8:dead::7/128 via fe80::2")
	good.dnsmasq(t, "--port=0", "--interface=nic", "--dhcp-range=2001:db8::50,2001:db8::60,64,1h")
	l := s.wait(t).Lease()
	if l.Server != netip.MustParseAddr("fe80::2") || l.Addr.Bits() != 64 || l.Gateway() != l.Server {
		t.Errorf("lease %s", l)
	}
	if a := addrs6Of(t, "eth0"); len(a) != 1 || a[0] != l.Addr.String() {
		t.Errorf("addresses %v", a)
	}
	s.until(t, "led nowhere, trying 2001:db8::")
}

// Where there is nothing else, the one lease is kept and proven again.
func TestNothingElse(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	tries := 0
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"dhcp"}}), Prove: func(context.Context, lease.Lease) error {
		if tries++; tries < 3 {
			return errors.New("the server is down")
		}
		return nil
	}})
	first := ""
	eventually(t, "a lease", func() bool { a := addrsOf(t, "eth0"); first = append(a, "")[0]; return len(a) > 0 })
	if l := s.wait(t).Lease(); l.Addr.String() != first {
		t.Errorf("%s, and before %s", l, first)
	}
}
