package netup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/lease"
)

// bridge makes a switch br0 of links in the peer's namespace, and gives it an
// address.
func (p *peer) bridge(t testing.TB, addr string, links ...string) {
	t.Helper()
	p.do(t, func() error {
		la := netlink.NewLinkAttrs()
		la.Name = "br0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}); err != nil {
			return err
		}
		return withLink("br0", func(br netlink.Link) error {
			for _, name := range links {
				if err := withLink(name, func(l netlink.Link) error { return netlink.LinkSetMaster(l, br) }); err != nil {
					return err
				}
			}
			a, err := netlink.ParseAddr(addr)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(br, a), netlink.LinkSetUp(br))
		})
	})
}

// neighbour is another host at the peer's switch, with an address.
func (p *peer) neighbour(t testing.TB, addr string) *peer {
	t.Helper()
	other := newPeer(t)
	p.do(t, func() error {
		la := netlink.NewLinkAttrs()
		la.Name = "port"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "nic", PeerNamespace: netlink.NsFd(other.ns)}); err != nil {
			return err
		}
		return withLink("br0", func(br netlink.Link) error {
			return withLink("port", func(l netlink.Link) error { return errors.Join(netlink.LinkSetMaster(l, br), netlink.LinkSetUp(l)) })
		})
	})
	other.do(t, func() error { return setUp("nic") })
	other.routerAddrs(t, "nic", addr)
	eventually(t, "the neighbour answers", func() (answers bool) {
		p.do(t, func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(netip.MustParsePrefix(addr).Addr().String(), "9"), 200*time.Millisecond)
			if err == nil {
				c.Close()
			}
			answers = errors.Is(err, unix.ECONNREFUSED)
			return nil
		})
		return answers
	})
	return other
}

// Two links on one switch and one subnet: both hold a lease while both prove,
// each proof stays on its own link, and one of them goes away.
func TestTwoLinksOnOneSwitch(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.cable(t, "eth1", "")
	p.bridge(t, "10.1.0.1/24", "eth0p", "eth1p")
	p.dnsmasq(t, "--port=0", "--interface=br0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	p.greeter(t, "10.1.0.1:8080")

	both := make(chan struct{}, 2)
	ready := make(chan struct{})
	go func() {
		<-both
		<-both
		close(ready)
	}()
	errs := make(chan error, 16)
	n := up(t, Options{Prove: func(ctx context.Context, l lease.Lease) error {
		select {
		case both <- struct{}{}:
		default:
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := Path{l}.DialContext(ctx, "tcp", "10.1.0.1:8080")
		if ctx.Err() == nil {
			errs <- err
		}
		if err != nil {
			return err
		}
		return c.Close()
	}})
	loser := map[string]string{"eth0": "eth1", "eth1": "eth0"}[n.Lease().Link]
	if a := append(addrsOf(t, loser), routesOf(t, loser)...); len(a) > 0 {
		t.Errorf("the loser keeps %v", a)
	}
	c, err := n.DialContext(t.Context(), "tcp", "10.1.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for len(errs) > 0 {
		if err := <-errs; err != nil {
			t.Errorf("a proof failed: %v", err)
		}
	}
}
