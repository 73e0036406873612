package netup

import (
	"context"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/rtnl"
)

// More notifications than the socket holds are lost; the links are listed
// again, so that the last state is known all the same.
func TestLostNotifications(t *testing.T) {
	needNamespace(t)
	log, lines := logTo(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(chan rtnl.Batch), make(chan struct{})
	go func() { defer close(done); rtnl.Open(log).Watch(ctx, out) }()
	defer func() { cancel(); <-done }()
	if b := <-out; !b.Full || len(b.Links) == 0 {
		t.Fatalf("first batch %+v", b)
	}
	// Nothing is read from out now.
	for i := range 4000 {
		if err := withLink("lo", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 65000+i%2) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := withLink("lo", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 65536) }); err != nil {
		t.Fatal(err)
	}
	for b := range out {
		if b.Full {
			for _, l := range b.Links {
				if l.Attrs().Name == "lo" && l.Attrs().MTU == 65536 {
					if !strings.Contains(lines.String(), "listing links again") {
						t.Error("the loss is not logged")
					}
					return
				}
			}
			t.Fatal("the new list is not the last state")
		}
	}
}

// What the opener of a link saw, if it is older than the kernel's latest
// notification, does not take the carrier away.
func TestOldNewsOfALink(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	old, err := netlink.LinkByName("eth0") // down
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{})
	n := s.wait(t)
	p.unplug(t, "eth0")
	s.until(t, "eth0: carrier lost")
	p.plug(t, "eth0")
	eventually(t, "carrier", func() bool { return n.Links()[0].Carrier })
	for range 2 { // the second one is taken when the first one is through
		n.opener.ready <- old
	}
	if l := n.Links()[0]; !l.Carrier || strings.Count(s.log.String(), "carrier lost") != 1 {
		t.Errorf("%+v", l)
	}
}
