package netup

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
)

// ignore notes a link that the operator's words leave out.
func (n *Network) ignore(nl netlink.Link) {
	a := nl.Attrs()
	if n.board.ignore(a.Index, a.Name+" "+a.HardwareAddr.String()+": not asked for") {
		n.opts.Log.With("link", a.Name).Info(a.HardwareAddr.String() + " left alone, " + n.plan.Wanted())
	}
}

// refuse notes a link that leads to a network, but not by us.
func (n *Network) refuse(nl netlink.Link, why string) {
	a := nl.Attrs()
	if n.board.ignore(a.Index, a.Name+": "+why) {
		n.opts.Log.With("link", a.Name).Info("left alone, " + why)
	}
}

// ignore notes why a link is left out; false is that it is known.
func (b *board) ignore(index int, why string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.ignored[index]
	b.ignored[index] = why
	return !known
}

// pinned is the plan as to which links take part. It is the race's.
func (n *Network) pinned() plan.Plan {
	p := n.plan
	if n.anyCard {
		p.BootMAC = nil
	}
	return p
}

// giveUpBootIF lets every card take part where none has BOOTIF's address, as
// happens with docks and with addresses that the firmware passes through.
func (n *Network) giveUpBootIF(ctx context.Context) {
	if n.plan.BootMAC == nil || len(n.board.links) > 0 || len(n.board.ignoredLinks()) == 0 {
		return
	}
	n.log.Warn(fmt.Sprintf("no card has the address of BOOTIF=%s: every card is tried now", n.plan.BootMAC))
	n.anyCard = true
	n.board.clearIgnored()
	links, err := rtnl.Dump(n.kernel.LinkList)
	if err != nil {
		n.log.Warn("list links", "err", err)
		return
	}
	n.handle(ctx, rtnl.Batch{Links: links, Full: true})
}

// join adds a link to the race and sets it up.
func (n *Network) join(ctx context.Context, nl netlink.Link, entries []ipparam.Entry, joined *joining) *link {
	a := nl.Attrs()
	log := n.opts.Log.With("link", a.Name)
	mac := n.plan.Prepare(log, nl, entries)
	l := &link{
		index: a.Index, name: a.Name, log: log, kernel: n.kernel.Link(a.Index, log), mac: mac, mtu: a.MTU, entries: entries,
		kind: nl.Type(), metric: metricOf(a.Index),
		carrierSince: time.Now(), opened: make(chan struct{}), news: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	var err error
	if l.existing, err = n.kernel.Inspect(nl, joined.addrsOf(n.kernel, l.index), n.opts.PNP); err != nil {
		log.Warn(err.Error())
	}
	l.had = l.existing.Had
	n.board.mu.Lock()
	n.board.links[l.index] = l
	n.board.mu.Unlock()
	l.up = a.Flags&net.FlagUp != 0
	if len(n.board.links) > 1 && n.arpFlux == nil {
		n.arpFlux = rtnl.SeparateARP(n.log)
	}
	joined.open(l)
	return l
}

// metricOf is that of a link's routes.
func metricOf(index int) int { return 1024 + index }

// about introduces a link, once.
func (l *link) about(n *Network) string {
	if l.introduced {
		return ""
	}
	l.introduced = true
	n.board.mu.Lock()
	l.identify(n.opts.Sysfs)
	n.board.mu.Unlock()
	if l.driver == "" {
		return l.mac.String() + ", "
	}
	return l.driver + " " + l.mac.String() + ", "
}

// identify finds out what a link is, under board.mu. Files of sysfs take their
// time, and links are opened first.
func (l *link) identify(sysfs string) {
	if !l.identified {
		l.identified = true
		l.driver, l.bus = rtnl.Driver(l.name, l.kind, sysfs), rtnl.Bus(l.name, sysfs)
	}
}

// joining are links that join the race together, and what all share.
type joining struct {
	open   func(*link) // opens links in this order; nil: that was the last
	addrs  []netlink.Addr
	listed bool
	jobs   []func() // what makes bonds and VLANs
}

// addrsOf returns a link's IPv4 addresses, out of one listing for all links.
func (j *joining) addrsOf(k rtnl.Conn, index int) []netlink.Addr {
	if !j.listed {
		j.listed = true
		var err error
		j.addrs, err = rtnl.Dump(func() ([]netlink.Addr, error) { return k.AddrList(nil, netlink.FAMILY_V4) })
		if err != nil {
			k.Log.Warn("list addresses", "err", err)
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
