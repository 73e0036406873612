package netup

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"netstage/netup/internal/dial"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// Links returns the table of links, in the order of their indices.
func (n *Network) Links() []linktable.Row { return n.board.rows() }

// rows is the table of links.
func (b *board) rows() []linktable.Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	indices := make([]int, 0, len(b.links))
	for index := range b.links {
		indices = append(indices, index)
	}
	slices.Sort(indices)
	out := make([]linktable.Row, 0, len(b.links))
	for _, index := range indices {
		out = append(out, b.links[index].status(b.winner, b.sysfs))
	}
	return out
}

// status is the link's row of the table, under board.mu.
func (l *link) status(winner *link, sysfs string) linktable.Row {
	l.identify(sysfs)
	s := linktable.Row{
		Name: l.name, Index: l.index, MAC: l.mac.String(), Driver: l.driver,
		Carrier: l.carrier, OperState: l.operState, Seconds: seconds(l.carrierSince), Speed: l.speed, Fault: l.fault, Winner: l == winner, Lost: l.down,
		V4: l.families[lease.V4].status(), V6: l.families[lease.V6].status(),
	}
	s.SetPlace(l.bus)
	return s
}

// status is the family's part of that row.
func (w familyState) status() linktable.FamilyState {
	f := linktable.FamilyState{State: w.state, Tries: w.sent, Rejected: w.rejected, RejectedFor: w.rejectedFor}
	if w.state != "" {
		f.Seconds = seconds(w.since)
	}
	if w.lease != nil {
		f.Address = w.lease.Addr.String()
	}
	return f
}

// seconds are the whole ones since a time.
func seconds(since time.Time) int { return int(time.Since(since) / time.Second) }

// note records the state of one of a link's families, the number of messages
// sent in it, and a fault, where given.
func (b *board) note(l *link, f lease.Family, state string, sent int, fault string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &l.families[f]
	if state != "" && state != w.state {
		w.state, w.since = state, time.Now()
	}
	w.sent = sent
	if fault != "" {
		l.fault = fault
	}
}

// rejected counts a reply that was of no use.
func (b *board) rejected(l *link, f lease.Family, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.families[f].rejected++
	l.families[f].rejectedFor = why
}

// faulty records a fault of a link, for people.
func (b *board) faulty(l *link, fault string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.fault = fault
}

// leased notes a family's lease, nil for one that was lost, and the state that it
// leads to.
func (b *board) leased(l *link, f lease.Family, lease *lease.Lease, state string) {
	if lease != nil { // the client goes on with its own
		held := *lease
		lease = &held
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := l.families[f]
	l.families[f] = familyState{state: state, since: time.Now(), lease: lease, rejected: was.rejected, rejectedFor: was.rejectedFor}
	switch other := l.families[f.Other()].lease; {
	case lease == nil:
		l.fault = "the lease was lost"
	case lease.Demoted() && other == nil:
		l.fault = "the lease has " + lease.Lack()
	case !lease.Demoted():
		l.fault = ""
	}
	close(l.news)
	l.news = make(chan struct{})
}

// mayConfigure asks before a link is changed: a loser must not be.
func (b *board) mayConfigure(l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.configured = true
	return true
}

// retired records that a loser is flushed and down.
func (b *board) retired(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.down = true
	l.families, l.fault = [2]familyState{}, ""
}

// leaseOf is a link's lease of a family; nil: none.
func (b *board) leaseOf(l *link, f lease.Family) *lease.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	return l.families[f].lease
}

// joinedLease is a link's lease of a family, nil when there is none, with what
// the other family's knows; the channel is closed when one of them changes.
func (b *board) joinedLease(l *link, f lease.Family) (*lease.Lease, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := l.families[f].lease
	if own == nil {
		return nil, l.news
	}
	joined := own.JoinedBy(l.families[f.Other()].lease)
	return &joined, l.news
}

// newMTU reports whether a lease's MTU is another than the link's, and notes it
// then as the link's.
func (b *board) newMTU(l *link, mtu int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := l.mtu
	if l.setMTU != 0 {
		now = l.setMTU
	}
	if mtu == 0 || mtu == now {
		return false
	}
	l.setMTU = mtu
	return true
}

// onlyLink reports whether there is just one link, so that no other can do
// better.
func (b *board) onlyLink() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.links) == 1
}

// unproven records a proof that failed. One that fails as it did before is
// not told again.
func (b *board) unproven(l *link, err error) {
	line := fmt.Sprintf("%s: no path: %v", l.name, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.winner != nil { // meanwhile: nobody waits for this path any more
		return
	}
	wrongFamily := errors.As(err, new(*dial.FamilyError))
	if !wrongFamily || b.proofErr == nil { // the other family's lease has more to tell
		l.fault, b.proofErr = "no path: "+err.Error(), err
	}
	if i := slices.IndexFunc(b.proofs, func(p proof) bool { return p.line == line }); i >= 0 {
		again := b.proofs[i]
		again.times++
		b.proofs = append(slices.Delete(b.proofs, i, i+1), again)
		l.log.Debug("no path", "err", err)
		return
	}
	if wrongFamily { // as in every good boot with both families
		l.log.Debug("no path", "err", err)
	} else {
		l.log.Warn("no path", "err", err)
	}
	b.proofs = append(b.proofs, proof{line, 1})
	if len(b.proofs) > lease.MaxListed {
		b.proofs = b.proofs[1:]
	}
}

// proof is one that failed, so often.
type proof struct {
	line  string
	times int
}

func (p proof) String() string {
	if p.times == 1 {
		return p.line
	}
	return fmt.Sprintf("%s (%d times)", p.line, p.times)
}

// stillWaiting says what the links wait for.
func (n *Network) stillWaiting() {
	waited := fmt.Sprintf("%d s", seconds(n.started))
	links := n.Links()
	if len(links) > 0 {
		n.log.Info("still waiting: " + linktable.Summary(links) + ", " + waited)
		return
	}
	line := "still waiting for a network card"
	if w := n.plan.Wanted(); w != "" {
		line += " as " + w + " wants it"
	}
	n.log.Info(line + ", " + waited)
}

// clearIgnored forgets which links were left out.
func (b *board) clearIgnored() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.ignored)
}

// ignoredLinks lists the links that are left out, with the reason.
func (b *board) ignoredLinks() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, s := range b.ignored {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
