package netup

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// joining are links that join the race together, and what all share.
type joining struct {
	open   func(*link) // opens links in this order; nil: that was the last
	addrs  []netlink.Addr
	listed bool
	jobs   []func() // what makes bonds and VLANs
}

// addrsOf returns a link's IPv4 addresses, out of one listing for all links.
func (j *joining) addrsOf(k kernel, index int) []netlink.Addr {
	if !j.listed {
		j.listed = true
		var err error
		j.addrs, err = dump(func() ([]netlink.Addr, error) { return k.AddrList(nil, netlink.FAMILY_V4) })
		if err != nil {
			k.log.Warn(fmt.Sprintf("network: list addresses: %v", err))
		}
	}
	var out []netlink.Addr
	for _, a := range j.addrs {
		if a.LinkIndex == index {
			out = append(out, a)
		}
	}
	return out
}

// opener returns a function that opens at most max links, behind: the first
// ones while others are still looked at. It is called with nil in the end.
func (n *Network) opener(max int) func(*link) {
	var links chan *link
	begin := func() {
		links = make(chan *link, max)
		n.wg.Go(func() { n.open(links) })
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
		case len(n.plan.VLANs)+len(n.plan.Bonds) > 0:
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
func (n *Network) open(links <-chan *link) {
	k := newKernel(n.log)
	defer k.Close()
	for l := range links {
		// Opening a link and configuring another take turns in the kernel, and
		// a link that a server talks to may be the one. The first link with
		// carrier has a head start.
		n.dhcp.lull(l.ctx)
		if _, ok := dynamic(l.entries, ipv6); ok && l.found.lease == nil && l.ctx.Err() == nil {
			l.kept6 = manual(n.log, l.name)
		}
		if n.openOnce(k, l) {
			close(l.opened)
			continue
		}
		go func() {
			defer close(l.opened)
			tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(l.mac)}
			for pause(l.ctx, tries.next()) == nil && !n.openOnce(n.kernel, l) {
			}
		}()
	}
}

// openOnce sets a link up and asks for its state then: where the carrier is
// there at once, the kernel's notification of it may come a second later (it
// merges them, net/core/link_watch.c). False means: try again.
func (n *Network) openOnce(k kernel, l *link) bool {
	if l.ctx.Err() != nil {
		return true
	}
	if n.plan.stacked(l.name) != "" { // a bond's mode is set while it is down
		n.stacking.Lock()
		n.stacking.Unlock()
	}
	var err error
	if !l.up {
		n.log.Debug(l.name + ": set up")
		err = k.LinkSetUp(byIndex(l.index))
	}
	var nl netlink.Link
	if err == nil {
		nl, err = k.LinkByIndex(l.index)
	}
	if gone(err) {
		return true
	}
	if err != nil {
		n.log.Warn(fmt.Sprintf("%s: set up: %v", l.name, err))
		n.faulty(l, fmt.Sprintf("cannot be set up: %v", err))
		return false
	}
	if carrier(nl, true) {
		n.dhcp.begins()
	}
	n.hand(l.ctx, nl)
	return true
}

// hand gives the race news of a link.
func (n *Network) hand(ctx context.Context, nl netlink.Link) {
	select {
	case n.ready <- nl:
	case <-ctx.Done():
	}
}
