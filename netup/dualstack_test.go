package netup

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// dualStack is a peer with both families, of which each names its own DNS
// server.
func dualStack(t testing.TB) *peer {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	p.dnsmasq(t, "--interface=eth0p", "--enable-ra", "--dhcp-range=10.1.0.50,10.1.0.50,1h", "--dhcp-range=2001:db8::50,2001:db8::50,64,1h",
		"--dhcp-option=option:dns-server,10.1.0.1", "--dhcp-option=option6:dns-server,[2001:db8::1]", "--dhcp-option=option:mtu,1400",
		"--dhcp-boot=x.ipxe,,10.1.0.4", "--local=/test/", "--address=/six.test/2001:db8::1", "--address=/four.test/10.1.0.1")
	return p
}

// dialing proves a lease by connecting to an address.
func dialing(address string) func(context.Context, lease.Lease) error {
	return func(ctx context.Context, l lease.Lease) error {
		c, err := Path{l}.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Both families race on a link; the one wins that leads to the server, by
// address and by name, and the other one is there too.
func TestDualStack(t *testing.T) {
	for address, source := range map[string]string{
		"10.1.0.1:8080": "dhcp", "[2001:db8::1]:8080": "dhcp6", "four.test:8080": "dhcp", "six.test:8080": "dhcp6",
	} {
		t.Run(address, func(t *testing.T) {
			p := dualStack(t)
			p.greeter(t, ":8080")
			s := start(t, Options{Prove: dialing(address)})
			n := s.wait(t)
			eventually(t, "both leases", func() bool { return len(n.board.leases()) == 2 })
			l := n.Lease()
			if l.Source != source || l.Next != netip.MustParseAddr("10.1.0.4") {
				t.Errorf("lease %+v", l)
			}
			if d := cmp.Diff([]string{"10.1.0.50/24", "2001:db8::50/64"}, append(addrsOf(t, "eth0"), addrs6Of(t, "eth0")...)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{"default via 10.1.0.1", "10.1.0.0/24 on the link", "2001:db8::/64 on the link", "default via fe80::1"}, append(routesOf(t, "eth0"), routes6Of(t, "eth0")...)); d != "" {
				t.Error(d)
			}
			servers := strings.Fields(strings.ReplaceAll(string(n.ResolvConf()), "nameserver", ""))
			slices.Sort(servers)
			if d := cmp.Diff([]string{"10.1.0.1", "2001:db8::1"}, servers); d != "" {
				t.Error(d)
			}
			eventually(t, "both bound", func() bool {
				row := n.Links()[0]
				return row.V4.State == linktable.Bound && row.V6.State == linktable.Bound
			})
			row := n.Links()[0]
			if !row.Winner || row.V4.Address != "10.1.0.50/24" || row.V6.Address != "2001:db8::50/64" || row.Fault != "" {
				t.Errorf("row %+v", row)
			}
			for _, to := range []string{"four.test:8080", "six.test:8080"} {
				c, err := n.DialContext(t.Context(), "tcp", to)
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			if strings.Contains(s.log.String(), "refused") {
				t.Error("the router's MTU, larger than the link's, is refused")
			}
			if err := n.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rest := slices.Concat(addrsOf(t, "eth0"), addrs6Of(t, "eth0"), routesOf(t, "eth0"), routes6Of(t, "eth0")); len(rest) > 0 {
				t.Errorf("after Down: %v", rest)
			}
		})
	}
}

// The other family's lease names the DNS server: the one that lacks it is not
// kept waiting.
func TestDualStackDNSByTheOther(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	bare := flagged(0)[:16+32] // the prefix alone
	p.fakeRouter(t, "eth0p", bare)
	p.dnsmasq(t, "--interface=eth0p", "--dhcp-range=10.1.0.50,10.1.0.50,1h", "--local=/test/", "--address=/six.test/2001:db8::1")
	p.greeter(t, "[2001:db8::1]:8080")
	if l := up(t, Options{Prove: dialing("six.test:8080")}).Lease(); l.Source != "ra" {
		t.Errorf("lease %s", l)
	}
}

// A server of the family that the network does not have is a failure that says
// so.
func TestOtherFamilysServer(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.50,1h")
	s := start(t, Options{Prove: dialing("[2001:db8::1]:8080")})
	s.until(t, "no path: the address 2001:db8::1 of the other family can't be reached from 10.1.0.50")
	p.routerAddrs(t, "eth0p", "2001:db8::1/64", "fe80::1/64")
	p.greeter(t, "[2001:db8::1]:8080")
	p.fakeRouter(t, "eth0p", advertisement)
	if l := s.wait(t).Lease(); l.Source != "ra" {
		t.Errorf("lease %s", l)
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "no path") && !strings.Contains(line, "DEBUG") {
			t.Errorf("a good boot says %s", line)
		}
	}
}

// What is kept of both families, and how networkd takes both over.
func TestKeptDualStack(t *testing.T) {
	p := dualStack(t)
	p.greeter(t, ":8080")
	n := up(t, Options{Prove: dialing("[2001:db8::1]:8080")})
	eventually(t, "both leases", func() bool { return len(n.board.leases()) == 2 })
	k := n.Networkd()
	if k.Source != "dhcp6" || k.Other != "dhcp" || len(k.Addresses) != 2 || len(k.Routes) != 2 {
		t.Errorf("%+v", k)
	}
	text := string(k.Network())
	for _, want := range []string{"MTUBytes=1400\n", "DHCP=ipv4\nIPv6AcceptRA=yes\n", "ClientIdentifier=mac\n", "DUIDType=link-layer\nDUIDRawData=00:01:" + k.MAC + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nAddress=") || strings.Contains(text, "[Route]") {
		t.Errorf("a leased address is fixed for ever:\n%s", text)
	}
}
