package netup

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/dhcp4"
	"netstage/netup/internal/plan"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

// opener sets links up.
type opener struct {
	plan  plan.Plan
	stack *stack
	board *board
	dhcp  *dhcp4.Port
	log   *slog.Logger
	wg    *sync.WaitGroup   // the Network's
	ready chan netlink.Link // links just set up
}

// newOpener is the opener of a Network's links.
func newOpener(n *Network) *opener {
	return &opener{plan: n.plan, stack: n.stack, board: n.board, dhcp: &n.dhcp, log: n.log, wg: &n.wg, ready: make(chan netlink.Link)}
}

// batch returns a function that opens at most max links, behind: the first ones
// while others are still looked at. It is called with nil in the end.
func (o *opener) batch(max int) func(*link) {
	var links chan *link
	begin := func() {
		links = make(chan *link, max)
		o.wg.Go(func() { o.open(links) })
	}
	var held []*link
	return func(l *link) {
		switch {
		case l == nil:
			for _, l := range held {
				if links == nil {
					begin()
				}
				links <- l
			}
			if links != nil {
				close(links)
			}
		case len(o.plan.VLANs)+len(o.plan.Bonds) > 0:
			held = append(held, l) // what is stacked is stacked first
		default:
			if links == nil {
				begin()
			}
			links <- l
		}
	}
}

// open sets links up, one after another, as the kernel does it anyway. Drivers
// fail at it when firmware is missing or the device is still busy; those links
// are tried again beside the others.
func (o *opener) open(links <-chan *link) {
	k := rtnl.Open(o.log)
	defer k.Close()
	for l := range links {
		// Opening a link and configuring another take turns in the kernel, and
		// a link that a server talks to may be the one. The first link with
		// carrier has a head start.
		o.dhcp.Lull(l.ctx)
		if _, ok := plan.Dynamic(l.entries, lease.V6); ok && l.existing.Lease == nil && l.ctx.Err() == nil {
			l.autoconf = rtnl.NoAutoconf(l.log, l.name)
		}
		if o.once(k, l) {
			close(l.opened)
			continue
		}
		go func() {
			defer close(l.opened)
			k := rtnl.Open(o.log)
			defer k.Close()
			tries := retry.New(time.Second, 8*time.Second, retry.Rand(l.mac))
			for retry.Pause(l.ctx, tries.Next()) == nil && !o.once(k, l) {
			}
		}()
	}
}

// once sets a link up and asks for its state then: where the carrier is there
// at once, the kernel's notification of it may come a second later (it merges
// them, net/core/link_watch.c). False means: try again.
func (o *opener) once(k rtnl.Conn, l *link) bool {
	if l.ctx.Err() != nil {
		return true
	}
	if !o.stack.wait(l) {
		return true
	}
	var err error
	if !l.up {
		l.log.Debug("set up")
		err = k.LinkSetUp(rtnl.ByIndex(l.index))
	}
	var nl netlink.Link
	if err == nil {
		nl, err = k.LinkByIndex(l.index)
	}
	if rtnl.Gone(err) {
		return true
	}
	if err != nil {
		l.log.Warn("set up", "err", err)
		o.board.faulty(l, "cannot be set up: "+err.Error())
		return false
	}
	if rtnl.Carrier(nl, true) {
		o.dhcp.Begins()
	}
	o.report(l.ctx, nl)
	return true
}

// report gives the race news of a link.
func (o *opener) report(ctx context.Context, nl netlink.Link) {
	select {
	case o.ready <- nl:
	case <-ctx.Done():
	}
}
