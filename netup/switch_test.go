package netup

import (
	"context"
	"testing"

	"github.com/vishvananda/netlink"
)

// Two links on one switch and one subnet: both hold a lease while both prove,
// each proof stays on its own link, and one of them goes away.
func TestTwoLinksOnOneSwitch(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.cable(t, "eth1", "")
	p.do(t, func() error {
		la := netlink.NewLinkAttrs()
		la.Name = "br0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}); err != nil {
			return err
		}
		return withLink("br0", func(br netlink.Link) error {
			for _, name := range []string{"eth0p", "eth1p"} {
				if err := withLink(name, func(l netlink.Link) error { return netlink.LinkSetMaster(l, br) }); err != nil {
					return err
				}
			}
			a, _ := netlink.ParseAddr("10.1.0.1/24")
			if err := netlink.AddrAdd(br, a); err != nil {
				return err
			}
			return netlink.LinkSetUp(br)
		})
	})
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
	n := up(t, Options{Prove: func(ctx context.Context, l Lease) error {
		select {
		case both <- struct{}{}:
		default:
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := l.DialContext(ctx, "tcp", "10.1.0.1:8080")
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
