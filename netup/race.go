package netup

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
)

// link is one physical link in the race. The race goroutine owns all fields
// except those under Network.mu.
type link struct {
	index   int
	name    string
	mac     net.HardwareAddr
	driver  string
	metric  int
	mtu     int     // before any lease changed it
	changes int     // carrier_changes when last seen
	kept    sysctls // for the race
	kept6   sysctls // for as long as the link is ours
	found   found
	entries []ipparam.Entry // what to do with it

	cancel context.CancelFunc // ends the opener and the session
	ctx    context.Context
	opened chan struct{} // closed when the opener has ended
	sess   *session      // the latest session; its done channel may be closed

	// Under Network.mu.
	carrier   bool
	operState string
	state     string
	sent      int
	since     time.Time
	last      string
	lease     *Lease
	// configured says that a session began to change the link.
	configured bool
}

// race watches links, gives each one with carrier a session, and ends the
// losers when one has won. It returns when ctx ends and all it started is over.
func (n *Network) race(ctx context.Context) {
	batches := make(chan linkBatch)
	var watch sync.WaitGroup
	watch.Go(func() { watchLinks(ctx, n.log, batches) })
	defer watch.Wait()
	defer n.endAll()

	noNIC := time.NewTimer(n.opts.NoNICTimeout)
	defer noNIC.Stop()
	report := time.NewTicker(n.opts.Report)
	defer report.Stop()
	won := n.won
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-batches:
			n.take(ctx, b)
		case nl := <-n.ready:
			n.update(ctx, nl, true)
		case <-won:
			won = nil
			report.Stop()
			n.retire()
			close(n.settled)
		case <-noNIC.C:
			if len(n.links) == 0 {
				close(n.noNIC)
				return
			}
		case <-report.C:
			n.stillWaiting()
		}
	}
}

// endAll stops every session and waits for it.
func (n *Network) endAll() {
	for _, l := range n.links {
		l.cancel()
	}
	for _, l := range n.links {
		l.wait()
	}
}

func (l *link) wait() {
	<-l.opened
	if l.sess != nil {
		<-l.sess.done
	}
}

// take works through news of links.
func (n *Network) take(ctx context.Context, b linkBatch) {
	seen := map[int]bool{}
	for _, nl := range b.links {
		seen[nl.Attrs().Index] = true
		n.update(ctx, nl, false)
		// A link that is up by now need not wait until the last one has joined.
		for more := true; more; {
			select {
			case nl := <-n.ready:
				n.update(ctx, nl, true)
			default:
				more = false
			}
		}
	}
	for index := range n.links {
		if b.full && !seen[index] {
			b.gone = append(b.gone, index)
		}
	}
	for _, index := range b.gone {
		if l := n.links[index]; l != nil {
			n.forget(l, "removed")
		}
	}
}

func (n *Network) forget(l *link, why string) {
	n.log.Info(l.name + ": " + why)
	l.cancel()
	n.mu.Lock()
	delete(n.links, l.index)
	if n.winner == l {
		l.carrier, l.lease, l.state = false, nil, ""
	}
	n.mu.Unlock()
	n.wg.Go(l.wait)
}

// update takes one notification of a link: a new one joins, a known one may
// have gained or lost carrier, or have got a master.
func (n *Network) update(ctx context.Context, nl netlink.Link, opened bool) {
	a := nl.Attrs()
	l := n.links[a.Index]
	if !candidate(nl, n.opts.Sysfs) {
		if l != nil && a.MasterIndex != 0 {
			n.forget(l, "belongs to another link now")
		}
		return
	}
	if l == nil {
		select {
		case <-n.won: // too late
			return
		default:
		}
		entries := n.plan.entries(a.Name, a.HardwareAddr)
		if len(entries) == 0 {
			n.ignore(nl)
			return
		}
		l = n.join(ctx, nl, entries)
	}
	up := carrier(nl, l.carrier || opened)
	changes, counted := carrierChanges(a.Name, n.opts.Sysfs)
	bounced := counted && l.carrier && up && changes > l.changes+1
	l.changes = changes

	n.mu.Lock()
	was := l.carrier
	l.operState, l.carrier = a.OperState.String(), up
	if was != up {
		l.since, l.sent = time.Now(), 0
		if !up {
			l.state, l.last = "", "carrier lost"
		}
	}
	n.mu.Unlock()
	defer func() {
		if l.sess != nil && up && carrier(nl, false) {
			l.sess.running()
		}
	}()
	switch {
	case l.ctx.Err() != nil: // retired
	case was && !up:
		n.log.Info(l.name + ": carrier lost")
		l.sess.cancel()
	case up && (!was || bounced):
		if bounced {
			n.log.Info(l.name + ": carrier bounced")
			l.sess.cancel()
		} else {
			n.log.Info(l.name + ": carrier")
		}
		l.sess = n.newSession(l, l.sess)
	}
}

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
func (n *Network) join(ctx context.Context, nl netlink.Link, entries []ipparam.Entry) *link {
	a := nl.Attrs()
	name, mac := n.plan.prepare(n.log, nl, entries)
	l := &link{
		index: a.Index, name: name, mac: mac, mtu: a.MTU, entries: entries,
		driver: driverOf(name, n.opts.Sysfs), metric: 1024 + a.Index,
		since: time.Now(), opened: make(chan struct{}),
	}
	l.changes, _ = carrierChanges(name, n.opts.Sysfs)
	l.ctx, l.cancel = context.WithCancel(ctx)
	var err error
	if l.found, err = inspect(nl, n.opts.PNP); err != nil {
		n.log.Warn(fmt.Sprintf("%v", err))
	}
	n.mu.Lock()
	n.links[l.index] = l
	n.mu.Unlock()
	n.log.Info(fmt.Sprintf("%s: found, %s", l.name, l.about()))
	up := a.Flags&net.FlagUp != 0
	l.kept = quiet(n.log, name)
	if e, ok := dynamic(entries); ok && e.Method == ipparam.Auto6 {
		l.kept6 = manual(n.log, name)
	}
	go func() {
		defer close(l.opened)
		n.open(l, name, up)
	}()
	return l
}

func (l *link) about() string {
	if l.driver == "" {
		return l.mac.String()
	}
	return l.driver + " " + l.mac.String()
}

// open sets a link up and asks for its state then: where the carrier is there
// at once, the kernel's notification of it may come a second later (it merges
// them, net/core/link_watch.c). Drivers fail at setting up when firmware is
// missing or the device is still busy, so it is tried again.
func (n *Network) open(l *link, name string, up bool) {
	tries := &backoff{first: time.Second, limit: 8 * time.Second, rng: newRand(l.mac)}
	for {
		nl, err := netlink.LinkByIndex(l.index)
		if err == nil && !up {
			n.log.Debug(name + ": set up")
			if err = netlink.LinkSetUp(nl); err == nil {
				nl, err = netlink.LinkByIndex(l.index)
			}
		}
		if gone(err) {
			return
		}
		if err == nil {
			select {
			case n.ready <- nl:
			case <-l.ctx.Done():
			}
			return
		}
		n.log.Warn(fmt.Sprintf("%s: set up: %v", name, err))
		n.note(l, "", 0, fmt.Sprintf("cannot be set up: %v", err))
		if pause(l.ctx, tries.next()) != nil {
			return
		}
	}
}
