package netup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"netstage/netup/lease"
	"netstage/stage1/fault"
)

func classify(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return "no *Error: " + err.Error()
	}
	return string(fault.ClassOf(e))
}

func TestRouteLessLeaseOfTheOnlyLinkWins(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-option=option:router")
	l := up(t, Options{}).Lease()
	if l.OffLink() || len(routesOf(t, "eth0")) != 1 {
		t.Errorf("lease %s, routes %v", l, routesOf(t, "eth0"))
	}
}

// A BMC's USB NIC answers first, with an address that leads nowhere.
func TestLinkLocalLeaseGivesWay(t *testing.T) {
	bmc, good := newPeer(t), newPeer(t)
	bmc.cable(t, "usb0", "169.254.3.1/24")
	good.cable(t, "eth0", "10.1.0.1/24")
	bmc.fakeDHCP(t, "usb0p", "169.254.3.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "169.254.3.2")
	})
	s := start(t, Options{Grace: time.Hour})
	s.until(t, "leads nowhere")
	good.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	if l := s.wait(t).Lease(); l.Link != "eth0" {
		t.Errorf("lease on %s", l.Link)
	}
	if a, r := addrsOf(t, "usb0"), routesOf(t, "usb0"); len(a)+len(r) > 0 {
		t.Errorf("the loser has addresses %v and routes %v when Up returns", a, r)
	}
}

func TestLinkLocalLeaseWinsAfterGrace(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "usb0", "169.254.3.1/24")
	p.fakeDHCP(t, "usb0p", "169.254.3.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "169.254.3.2")
	})
	s := start(t, Options{Grace: 50 * time.Millisecond})
	s.wait(t)
	s.until(t, "leads nowhere")
}

// Two links on one subnet, both with leases: the image server is reached
// through the second only, and a proof must not stray to the other link.
func TestProofChoosesAmongTwinSubnets(t *testing.T) {
	dead, live := newPeer(t), newPeer(t)
	dead.cable(t, "eth0", "10.1.0.1/24")
	live.cable(t, "eth1", "10.1.0.1/24")
	dead.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	live.dnsmasq(t, "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--address=/image.test/10.1.0.1")
	live.greeter(t, "10.1.0.1:8080")
	var mu sync.Mutex
	refused := make(chan struct{})
	tried := map[string]int{}
	prove := func(ctx context.Context, l lease.Lease) error {
		mu.Lock()
		tried[l.Link]++
		mu.Unlock()
		if l.Link == "eth1" {
			select { // both hold leases and routes by now
			case <-refused:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c, err := Path{l}.DialContext(ctx, "tcp", "image.test:8080")
		if l.Link == "eth0" {
			mu.Lock()
			if tried["eth0"] == 1 {
				close(refused)
			}
			mu.Unlock()
		}
		if err != nil {
			return err
		}
		return c.Close()
	}
	s := start(t, Options{Prove: prove})
	n := s.wait(t)
	if l := n.Lease(); l.Link != "eth1" {
		t.Fatalf("lease on %s", l.Link)
	}
	if a := addrsOf(t, "eth0"); len(a) > 0 {
		t.Errorf("the loser keeps %v", a)
	}
	c, err := n.DialContext(t.Context(), "tcp", "image.test:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.until(t, "eth0: no path")
}

// greeter accepts TCP connections in the peer's namespace.
func (p *peer) greeter(t testing.TB, addr string) {
	t.Helper()
	var l net.Listener
	p.do(t, func() (err error) { l, err = net.Listen("tcp", addr); return err })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// An interface configured by the kernel's ip= is used as it is.
func TestConfiguredInterfaceIsUsed(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	if err := withLink("eth0", func(l netlink.Link) error {
		a, _ := netlink.ParseAddr("10.1.0.77/24")
		_, all, _ := net.ParseCIDR("0.0.0.0/0")
		return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l),
			netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: all, Gw: net.IP{10, 1, 0, 1}}))
	}); err != nil {
		t.Fatal(err)
	}
	before := append(addrsOf(t, "eth0"), routesOf(t, "eth0")...)
	pnp := t.TempDir() + "/pnp"
	os.WriteFile(pnp, []byte("#PROTO: DHCP\ndomain example.org\nnameserver 10.1.0.5\nnameserver 0.0.0.0\nbootserver 10.1.0.6\n"), 0o644)
	must(os.Mkdir(filepath.Dir(pnp)+"/ipconfig", 0o755))
	must(os.WriteFile(filepath.Dir(pnp)+"/ipconfig/ntp_servers", []byte("10.1.0.7\n"), 0o644))
	s := start(t, Options{PNP: pnp})
	n := s.wait(t)
	l := n.Lease()
	ap := netip.MustParseAddr
	if l.Source != "kernel" || l.Addr.String() != "10.1.0.77/24" || l.Gateway() != ap("10.1.0.1") || l.Next != ap("10.1.0.6") ||
		!slices.Equal(l.DNS, []netip.Addr{ap("10.1.0.5")}) || !slices.Equal(l.NTP, []netip.Addr{ap("10.1.0.7")}) || !slices.Equal(l.Search, []string{"example.org"}) {
		t.Errorf("lease %+v", l)
	}
	if strings.Contains(s.log.String(), "DISCOVER") {
		t.Error("DHCP on a configured interface")
	}
	n.Close()
	if after := append(addrsOf(t, "eth0"), routesOf(t, "eth0")...); !slices.Equal(before, after) {
		t.Errorf("configuration changed: %v, was %v", after, before)
	}
}

// A second Up after a failed boot asks for the same address and changes
// nothing.
func TestUpAgain(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	f := p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return f.polite(m, "10.1.0.9", dhcpv4.OptBootFileName("boot.ipxe"))
	})
	n := up(t, Options{})
	n.Close()
	before := append(addrsOf(t, "eth0"), routesOf(t, "eth0")...)
	n = up(t, Options{})
	if l := n.Lease(); l.BootFile != "boot.ipxe" || l.Source != "dhcp" {
		t.Errorf("lease %+v", l)
	}
	if after := append(addrsOf(t, "eth0"), routesOf(t, "eth0")...); !slices.Equal(before, after) {
		t.Errorf("%v, was %v", after, before)
	}
	if ts := f.types(); !slices.Equal(ts, []string{"DISCOVER", "REQUEST", "REQUEST"}) {
		t.Errorf("messages %v", ts)
	}
}

func TestNoNIC(t *testing.T) {
	needNamespace(t)
	log, _ := logTo(t)
	la := netlink.NewLinkAttrs()
	la.Name = "br0" // no physical link
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { withLink("br0", netlink.LinkDel) })
	_, err := Up(within(t), Options{Log: log, NoNICTimeout: 20 * time.Millisecond})
	if classify(err) != "no-nic" {
		t.Errorf("%v", err)
	}
}

// The end of the context carries the class of what was seen.
func TestClassesAtTheEnd(t *testing.T) {
	needNamespace(t)
	endAt := func(t *testing.T, o Options, line string) *Error {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var lines *lockedLines
		o.Log, lines = logTo(t)
		o.Report = 10 * time.Millisecond
		go func() {
			for ctx.Err() == nil && !strings.Contains(lines.String(), line) {
				time.Sleep(2 * time.Millisecond)
			}
			cancel()
		}()
		n, err := Up(ctx, o)
		if err == nil {
			n.Down(t.Context())
			t.Fatal("Up without a network")
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		return e
	}
	t.Run("no-carrier", func(t *testing.T) {
		p := newPeer(t)
		p.cable(t, "eth0", "")
		p.unplug(t, "eth0")
		e := endAt(t, Options{}, "still waiting: no carrier")
		if fault.ClassOf(e) != "no-carrier" || !strings.Contains(e.Error(), "eth0") || len(e.Links()) != 1 || !errors.Is(e, context.Canceled) {
			t.Errorf("%s: %v, links %+v", fault.ClassOf(e), e, e.Links())
		}
	})
	t.Run("no-lease", func(t *testing.T) {
		p := newPeer(t)
		p.cable(t, "eth0", "")
		if e := endAt(t, Options{}, "send DISCOVER"); fault.ClassOf(e) != "no-lease" || e.Links()[0].V4.State != "discovering" {
			t.Errorf("%s: %v, links %+v", fault.ClassOf(e), e, e.Links())
		}
	})
	t.Run("refused", func(t *testing.T) {
		p := newPeer(t)
		p.cable(t, "eth0", "10.1.0.1/24")
		p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
		e := endAt(t, Options{Prove: func(context.Context, lease.Lease) error { return errRefused }}, "no path")
		if fault.ClassOf(e) != "refused" || !strings.Contains(e.Error(), "connection refused") || !errors.Is(e, errRefused) {
			t.Errorf("%s: %v, tried %q", fault.ClassOf(e), e, fault.TriedOf(e))
		}
	})
}

var errRefused = fault.Errorf(fault.Refused, "connection refused")
