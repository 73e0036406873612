package netup

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
)

// ignore notes a link that the operator's words leave out.
func (n *Network) ignore(nl netlink.Link) {
	a := nl.Attrs()
	n.mu.Lock()
	_, known := n.ignored[a.Index]
	n.ignored[a.Index] = a.Name + " " + a.HardwareAddr.String()
	n.mu.Unlock()
	if !known {
		n.log.Info(fmt.Sprintf("%s: %s left alone, %s", a.Name, a.HardwareAddr, n.plan.wanted()))
	}
}

// join adds a link to the race and sets it up.
func (n *Network) join(ctx context.Context, nl netlink.Link, entries []ipparam.Entry, joined *joining) *link {
	a := nl.Attrs()
	name, mac := n.plan.prepare(n.log, nl, entries)
	l := &link{
		index: a.Index, name: name, mac: mac, mtu: a.MTU, entries: entries,
		kind: nl.Type(), metric: 1024 + a.Index,
		carrierSince: time.Now(), opened: make(chan struct{}), news: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	var err error
	if l.found, err = n.kernel.inspect(nl, joined.addrsOf(n.kernel, l.index), n.opts.PNP); err != nil {
		n.log.Warn(fmt.Sprintf("%v", err))
	}
	l.had = l.found.had
	n.mu.Lock()
	n.links[l.index] = l
	n.mu.Unlock()
	l.up = a.Flags&net.FlagUp != 0
	if len(n.links) > 1 && n.quieted == nil {
		n.quieted = quiet(n.log)
	}
	joined.open(l)
	return l
}

// about introduces a link, once.
func (n *Network) about(l *link) string {
	if l.introduced {
		return ""
	}
	l.introduced = true
	n.mu.Lock()
	l.look(n.opts.Sysfs)
	n.mu.Unlock()
	if l.driver == "" {
		return l.mac.String() + ", "
	}
	return l.driver + " " + l.mac.String() + ", "
}

// look finds out what a link is, under Network.mu. Files of sysfs take their
// time, and links are opened first.
func (l *link) look(sysfs string) {
	if !l.looked {
		l.looked = true
		l.driver, l.bus = driverOf(l.name, l.kind, sysfs), busOf(l.name, sysfs)
	}
}
