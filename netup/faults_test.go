package netup

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

// nft applies rules in the peer's namespace.
func (p *peer) nft(t testing.TB, rules string) {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		path = "/usr/sbin/nft"
	}
	p.do(t, func() error {
		cmd := exec.Command(path, "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w\n%s", err, out)
		}
		return nil
	})
}

// lose drops the first n DHCP messages of a type on their way from or to the
// server in the peer's namespace. Option 53 comes first in what dnsmasq sends;
// what it gets is told by the port alone.
func (p *peer) lose(t testing.TB, n int, m dhcpv4.MessageType) {
	hook, match := "output", fmt.Sprintf("udp sport 67 @th,1984,24 0x3501%02x", byte(m))
	if m == dhcpv4.MessageTypeDiscover {
		hook, match = "input", "udp dport 67"
	}
	p.nft(t, fmt.Sprintf("table inet lossy {\nchain c {\ntype filter hook %s priority 0\n%s numgen inc mod 10000 < %d counter drop\n}\n}\n", hook, match, n))
}

// lost tells how many messages were.
func (p *peer) lost(t testing.TB) (n int) {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		path = "/usr/sbin/nft"
	}
	p.do(t, func() error {
		out, err := exec.Command(path, "list", "table", "inet", "lossy").CombinedOutput()
		if _, after, ok := strings.Cut(string(out), "counter packets "); ok {
			fmt.Sscan(after, &n)
		}
		return err
	})
	return n
}

// join plugs another namespace into the peer's end of a link, which becomes a
// switch: the other one's end is called name.
func (p *peer) join(t testing.TB, port string, other *peer, name, addr string) {
	t.Helper()
	p.do(t, func() error {
		la := netlink.NewLinkAttrs()
		la.Name = "br0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		la.Name = name + "s"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: name, PeerNamespace: netlink.NsFd(other.ns)}); err != nil {
			return err
		}
		for _, member := range []string{port, name + "s"} {
			if err := withLink(member, func(l netlink.Link) error { return netlink.LinkSetMaster(l, bridge) }); err != nil {
				return err
			}
			if err := setUp(member); err != nil {
				return err
			}
		}
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		// Where the server now has to be.
		if err := withLink(port, func(l netlink.Link) error { return netlink.AddrDel(l, a) }); err != nil {
			return err
		}
		return withLink("br0", func(l netlink.Link) error {
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
			return netlink.LinkSetUp(l)
		})
	})
	other.do(t, func() error { return setUp(name) })
}

// Whatever goes wrong on the way, the link ends with the server's address,
// routes, name servers and MTU, and nothing else.
func TestFaultsOnTheWay(t *testing.T) {
	for name, fault := range map[string]struct {
		before func(t *testing.T, p *peer)             // the server starts
		during func(t *testing.T, p *peer, s *started) // Up
		lost   int                                     // messages, at least
		long   time.Duration                           // how long the fault itself takes
	}{
		"none": {},
		"the first two DISCOVERs are lost": {
			before: func(t *testing.T, p *peer) { p.lose(t, 2, dhcpv4.MessageTypeDiscover) }, lost: 2,
		},
		"the first OFFER is lost": {
			before: func(t *testing.T, p *peer) { p.lose(t, 1, dhcpv4.MessageTypeOffer) }, lost: 1,
		},
		"the first ACK is lost": {
			before: func(t *testing.T, p *peer) { p.lose(t, 1, dhcpv4.MessageTypeAck) }, lost: 1,
		},
		"five ACKs are lost, more than REQUESTs are sent": {
			before: func(t *testing.T, p *peer) { p.lose(t, 5, dhcpv4.MessageTypeAck) }, lost: 5,
		},
		"carrier comes after five seconds": {
			before: func(t *testing.T, p *peer) { p.unplug(t, "eth0") },
			during: func(t *testing.T, p *peer, s *started) {
				s.until(t, "no carrier yet")
				time.Sleep(5 * time.Second) // the fault
				p.plug(t, "eth0")
			},
			long: 5 * time.Second,
		},
		"carrier bounces after DISCOVER": {
			before: func(t *testing.T, p *peer) { p.lose(t, 1000, dhcpv4.MessageTypeDiscover) },
			during: func(t *testing.T, p *peer, s *started) {
				s.until(t, "dhcp: send DISCOVER")
				p.unplug(t, "eth0")
				s.until(t, "carrier lost")
				p.nft(t, "delete table inet lossy\n")
				p.plug(t, "eth0")
			},
		},
		"carrier bounces after OFFER": {
			before: func(t *testing.T, p *peer) { p.lose(t, 1000, dhcpv4.MessageTypeAck) },
			during: func(t *testing.T, p *peer, s *started) {
				s.until(t, "dhcp: send REQUEST")
				p.unplug(t, "eth0")
				s.until(t, "carrier lost")
				p.nft(t, "delete table inet lossy\n")
				p.plug(t, "eth0")
			},
		},
		"another server refuses": {
			before: func(t *testing.T, p *peer) {
				other := newPeer(t)
				p.join(t, "eth0p", other, "rogue", "10.1.0.1/24")
				other.fakeDHCP(t, "rogue", "10.1.0.2", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
					if m.MessageType() != dhcpv4.MessageTypeRequest {
						return nil
					}
					return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeNak, "", dhcpv4.OptMessage("none of mine"))}
				})
			},
		},
		"a silent link and one without a cable stand by": {
			before: func(t *testing.T, p *peer) {
				silent, dark := newPeer(t), newPeer(t)
				silent.cable(t, "eth1", "")
				dark.cable(t, "eth2", "")
				dark.unplug(t, "eth2")
				p.lose(t, 1000, dhcpv4.MessageTypeDiscover)
			},
			during: func(t *testing.T, p *peer, s *started) {
				s.until(t, "eth1: dhcp: send DISCOVER")
				s.until(t, "no carrier yet")
				p.nft(t, "delete table inet lossy\n")
				s.wait(t)
				eventually(t, "the others have lost", func() bool {
					lost := 0
					for _, l := range s.n.Links() {
						if l.Name != "eth0" && l.Lost && !l.Leased() && l.Fault == "" && l.Doing() == "set down, another link is used" {
							lost++
						}
					}
					return lost == 2 && !isUp(t, "eth1") && !isUp(t, "eth2")
				})
				if left := append(addrsOf(t, "eth1"), routesOf(t, "eth1")...); len(left) > 0 {
					t.Errorf("left on the silent link: %v", left)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.cable(t, "eth0", "10.1.0.1/24")
			if fault.before != nil {
				fault.before(t, p)
			}
			p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-option=option:mtu,1400",
				"--dhcp-option=option:dns-server,10.1.0.1,10.1.0.2", "--domain=example.test",
				"--dhcp-option=option:classless-static-route,192.168.7.0/24,10.1.0.7,0.0.0.0/0,10.1.0.1")
			began := time.Now()
			s := start(t, Options{})
			if fault.during != nil {
				fault.during(t, p, s)
			}
			n := s.wait(t)
			if took := time.Since(began); fault.long > 0 && took > 2*fault.long {
				t.Errorf("%s, %.1f times as long as the fault", took, took.Seconds()/fault.long.Seconds())
			}
			l := n.Lease()
			if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{l.Addr.String()}) || !strings.HasPrefix(a[0], "10.1.0.5") && a[0] != "10.1.0.60/24" {
				t.Errorf("addresses %v, lease %s", a, l)
			}
			if r := routesOf(t, "eth0"); !slices.Equal(r, []string{"default via 10.1.0.1", "10.1.0.0/24 on the link", "192.168.7.0/24 via 10.1.0.7"}) {
				t.Errorf("routes %v", r)
			}
			if got := string(n.ResolvConf()); got != "search example.test\nnameserver 10.1.0.1\nnameserver 10.1.0.2\n" {
				t.Errorf("resolv.conf %q", got)
			}
			if m := mtuOf(t, "eth0"); m != 1400 {
				t.Errorf("mtu %d", m)
			}
			if fault.lost > 0 {
				if got := p.lost(t); got < fault.lost {
					t.Errorf("%d messages were lost, %d should have been", got, fault.lost)
				}
			}
		})
	}
}
