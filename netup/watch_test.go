package netup

import (
	"context"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// More notifications than the socket holds are lost; the links are listed
// again, so that the last state is known all the same.
func TestLostNotifications(t *testing.T) {
	needNamespace(t)
	log, lines := logTo(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(chan linkBatch), make(chan struct{})
	go func() { defer close(done); newKernel(log).watchLinks(ctx, out) }()
	defer func() { cancel(); <-done }()
	if b := <-out; !b.full || len(b.links) == 0 {
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
		if b.full {
			for _, l := range b.links {
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
