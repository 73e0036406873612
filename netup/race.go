package netup

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
)

// link is one physical link in the race. The race goroutine owns all fields
// except those under board.mu.
type link struct {
	index      int
	name       string
	log        *slog.Logger // names it
	kernel     rtnl.Link
	mac        net.HardwareAddr
	kind       string // as the kernel has it: device, veth, …
	metric     int
	mtu        int          // before any lease changed it
	up         bool         // before it was ours
	introduced bool         // in the log
	notified   bool         // by the kernel, since it joined
	changes    int          // carrier_changes when last seen
	autoconf   rtnl.Sysctls // what IPv6 had before the link was ours; the opener's until it has ended
	existing   rtnl.Existing
	had        []netip.Prefix  // IPv4 addresses on it; the session's
	entries    []ipparam.Entry // what to do with it

	cancel context.CancelFunc // ends the opener and the session
	ctx    context.Context
	opened chan struct{} // closed when the opener has ended
	sess   *session      // the latest session; its done channel may be closed

	// Under board.mu.
	identified   bool // driver and bus are known
	driver       string
	bus          rtnl.Place
	carrier      bool
	carrierSince time.Time
	operState    string
	fault        string
	families     [2]familyState // by family
	news         chan struct{}  // closed when a lease comes or goes
	configured   bool           // a session began to change the link
	setMTU       int            // to which a lease changed it; 0: none did
	mtu6         int            // IPv6's own, of a router; 0: none
	down         bool           // lost, and given back
	speed        int            // in Mb/s; 0: not known
	bouncedOnce  bool           // its carrier, by us
}

// familyState is what is to be seen of one of a link's two ways to an address.
type familyState struct {
	state string
	sent  int
	since time.Time // in state
	lease *lease.Lease

	rejected    int // replies of no use
	rejectedFor string
}

// race watches links, gives each one with carrier a session, and ends the
// losers when one has won. It returns when ctx ends and all it started is over.
func (n *Network) race(ctx context.Context) {
	batches := make(chan rtnl.Batch)
	var watched sync.WaitGroup
	watched.Go(func() { n.kernel.Watch(ctx, batches) })
	defer watched.Wait()
	defer n.endAll()

	noNIC := time.NewTimer(n.opts.NoNICTimeout)
	defer noNIC.Stop()
	bootIF := time.NewTimer(n.opts.BootIFTimeout)
	defer bootIF.Stop()
	due := n.opts.Report
	report := time.NewTimer(due)
	defer report.Stop()
	watch := newWatcher(n)
	defer watch.Stop()
	won := n.board.won
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-batches:
			n.handle(ctx, b)
		case nl := <-n.opener.ready:
			n.update(ctx, nl, true, nil)
		case <-won:
			won = nil
			report.Stop()
			n.retire()
			watch.tell(false)
		case <-noNIC.C:
			if len(n.board.links) == 0 {
				close(n.noNIC)
				return
			}
		case <-bootIF.C:
			n.giveUpBootIF(ctx)
		case <-report.C:
			n.stillWaiting()
			due = min(2*due, time.Minute)
			report.Reset(due)
		case <-watch.C:
			watch.tell(won != nil)
		}
	}
}

// endAll stops every session and waits for it.
func (n *Network) endAll() {
	for _, l := range n.board.links {
		l.cancel()
	}
	for _, l := range n.board.links {
		l.wait()
	}
	n.arpFlux.Restore(n.log)
}

// blank is a lease of the link without anything.
func (l *link) blank() lease.Lease { return lease.Lease{Link: l.name, Index: l.index, MAC: l.mac} }

// wait waits for all that was started for a link.
func (l *link) wait() {
	<-l.opened
	if l.sess != nil {
		<-l.sess.done
	}
}

// handle works through news of links.
func (n *Network) handle(ctx context.Context, b rtnl.Batch) {
	seen := map[int]bool{}
	joined := &joining{open: n.opener.batch(len(b.Links))}
	plan.Renaming{Plan: n.plan, Log: n.opts.Log, Used: func(index int) bool { return n.board.links[index] != nil }}.Run(b.Links)
	for _, nl := range b.Links {
		seen[nl.Attrs().Index] = true
		n.update(ctx, nl, false, joined)
		select {
		case nl := <-n.opener.ready: // the first ones are up while others are still looked at
			n.update(ctx, nl, true, nil)
		default:
		}
	}
	n.stack.do(&n.wg, joined.jobs)
	joined.open(nil)
	for index := range n.board.links {
		if b.Full && !seen[index] {
			b.Gone = append(b.Gone, index)
		}
	}
	for _, index := range b.Gone {
		if l := n.board.links[index]; l != nil {
			n.forget(l, "removed")
		}
	}
}

// forget takes a link out of the race.
func (n *Network) forget(l *link, why string) {
	l.log.Info(why)
	l.cancel()
	n.board.mu.Lock()
	delete(n.board.links, l.index)
	if n.board.winner == l {
		l.carrier, l.families = false, [2]familyState{}
	}
	n.board.mu.Unlock()
	n.wg.Go(l.wait)
}

// update works through one notification of a link: a new one joins, a known one
// may have gained or lost carrier, or have got a master.
func (n *Network) update(ctx context.Context, nl netlink.Link, opened bool, joined *joining) {
	l := n.board.links[nl.Attrs().Index]
	if !n.eligible(nl, l) {
		return
	}
	switch {
	case l == nil:
		if l = n.admit(ctx, nl, joined); l == nil {
			return
		}
	case !opened:
		l.notified = true
	case l.notified:
		// What the opener saw may be older than what the kernel has told since,
		// and a carrier taken away by it would never come back.
		now, err := netlink.LinkByIndex(l.index)
		if err != nil {
			return // the kernel will tell
		}
		nl = now
	}
	n.updateCarrier(l, nl, opened)
}

// eligible reports whether a link can take part. A known one, l, that can not
// any more leaves the race.
func (n *Network) eligible(nl netlink.Link, l *link) bool {
	if why := rtnl.Unsupported(nl, n.opts.Sysfs); why != "" {
		n.refuse(nl, why)
		return false
	}
	if rtnl.Candidate(nl, n.plan.Stacked(nl.Attrs().Name)) {
		return true
	}
	if l != nil && nl.Attrs().MasterIndex != 0 {
		n.forget(l, "belongs to another link now")
	}
	return false
}

// admit lets a new link join the race; nil is that it is not to.
func (n *Network) admit(ctx context.Context, nl netlink.Link, joined *joining) *link {
	if joined == nil || n.stack.add(nl, joined) { // removed, or of no use by itself
		return nil
	}
	if n.board.isWon() { // too late
		return nil
	}
	entries := n.pinned().EntriesOf(nl.Attrs().Name, nl.Attrs().HardwareAddr)
	if len(entries) == 0 {
		n.ignore(nl)
		return nil
	}
	return n.join(ctx, nl, entries, joined)
}

// updateCarrier does what a link's carrier asks for, as it now is.
func (n *Network) updateCarrier(l *link, nl netlink.Link, opened bool) {
	a := nl.Attrs()
	up := rtnl.Carrier(nl, l.carrier || opened)
	bounced := false
	if up {
		changes, counted := rtnl.CarrierChanges(a.Name, n.opts.Sysfs)
		bounced = counted && l.carrier && changes > l.changes+1
		l.changes = changes
	}
	was := n.board.noteCarrier(l, a, up, n.plan.Stacked(l.name) == "bond")
	before := l.sess
	news := carrierNews{retired: l.ctx.Err() != nil, was: was, up: up, bounced: bounced, opened: opened}
	for _, t := range transitions {
		if t.when(news) {
			t.do(l, n)
			break
		}
	}
	switch {
	case l.sess == nil || !up || !rtnl.Carrier(nl, false):
	case l.sess != before:
		l.sess.running()
	default:
		time.AfterFunc(portDelay, l.sess.running)
	}
}

// carrierNews is what became of a link's carrier.
type carrierNews struct{ retired, was, up, bounced, opened bool }

// transitions are what news of a carrier lead to; the first that applies does.
var transitions = [...]struct {
	when func(carrierNews) bool
	do   func(*link, *Network)
}{
	{func(c carrierNews) bool { return c.retired }, func(*link, *Network) {}},
	{func(c carrierNews) bool { return c.was && !c.up }, (*link).lost},
	{func(c carrierNews) bool { return c.up && c.bounced }, (*link).bounced},
	{func(c carrierNews) bool { return c.up && !c.was }, (*link).came},
	{func(c carrierNews) bool { return c.opened && !c.up }, (*link).absent},
}

// lost ends the session of a link that has no carrier any more.
func (l *link) lost(n *Network) {
	l.sess.cancel()
	l.log.Info("carrier lost")
}

// bounced begins anew on a link whose carrier went and came.
func (l *link) bounced(n *Network) {
	l.sess.cancel()
	l.begin(n)
	l.log.Info("carrier bounced")
}

// came begins on a link that has carrier now.
func (l *link) came(n *Network) {
	l.begin(n)
	l.log.Info(l.about(n) + "carrier")
}

// absent says that a link was set up in vain so far.
func (l *link) absent(n *Network) {
	l.log.Info(l.about(n) + "no carrier yet")
}

// begin gives a link a session. A line can take a serial console 10 ms: first
// the packets go out, also on a machine with one processor.
func (l *link) begin(n *Network) {
	l.sess = newSession(n, l, l.sess)
	runtime.Gosched()
}
