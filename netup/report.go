package netup

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Links returns the table of links, in the order of their indices.
func (n *Network) Links() []LinkState {
	n.mu.Lock()
	defer n.mu.Unlock()
	indices := make([]int, 0, len(n.links))
	for index := range n.links {
		indices = append(indices, index)
	}
	slices.Sort(indices)
	out := make([]LinkState, 0, len(n.links))
	for _, index := range indices {
		out = append(out, n.links[index].status(n.winner, n.opts.Sysfs))
	}
	return out
}

// status is the link's row of the table, under Network.mu.
func (l *link) status(winner *link, sysfs string) LinkState {
	l.look(sysfs)
	s := LinkState{
		Name: l.name, Index: l.index, MAC: l.mac.String(), Driver: l.driver,
		Carrier: l.carrier, OperState: l.operState, Seconds: seconds(l.carrierSince), Fault: l.fault, Winner: l == winner, Lost: l.down,
		V4: l.ways[ipv4].status(), V6: l.ways[ipv6].status(),
	}
	s.at(l.bus)
	return s
}

func (w wayState) status() FamilyState {
	f := FamilyState{State: w.state, Tries: w.sent}
	if w.state != "" {
		f.Seconds = seconds(w.since)
	}
	if w.lease != nil {
		f.Address = w.lease.Addr.String()
	}
	return f
}

func seconds(since time.Time) int { return int(time.Since(since) / time.Second) }

// note records the state of one of a link's ways to an address, the number of
// messages sent in it, and a fault, where given.
func (n *Network) note(l *link, f family, state string, sent int, fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &l.ways[f]
	if state != "" && state != w.state {
		w.state, w.since = state, time.Now()
	}
	w.sent = sent
	if fault != "" {
		l.fault = fault
	}
}

// faulty records a fault of a link, for people.
func (n *Network) faulty(l *link, fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.fault = fault
}

func (n *Network) leased(l *link, f family, lease *Lease, state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.ways[f] = wayState{state: state, since: time.Now(), lease: lease}
	switch other := l.ways[f.other()].lease; {
	case lease == nil:
		l.fault = "the lease was lost"
	case lease.demoted() && other == nil:
		l.fault = "the lease has " + lease.lack()
	case !lease.demoted():
		l.fault = ""
	}
	close(l.news)
	l.news = make(chan struct{})
}

// mayConfigure asks before a link is changed: a loser must not be.
func (n *Network) mayConfigure(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.configured = true
	return true
}

// retired records that a loser is flushed and down.
func (n *Network) retired(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.down = true
	l.ways, l.fault = [2]wayState{}, ""
}

func (n *Network) leaseOf(l *link, f family) *Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.ways[f].lease
}

// view is a link's lease of a family, nil when there is none, with what the
// other family's knows; the channel is closed when one of them changes.
func (n *Network) view(l *link, f family) (*Lease, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	own := l.ways[f].lease
	if own == nil {
		return nil, l.news
	}
	joined := own.joinedBy(l.ways[f.other()].lease)
	return &joined, l.news
}

// newMTU reports whether a lease's MTU is another than the link's, and notes it
// then as the link's.
func (n *Network) newMTU(l *link, mtu int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
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

// alone reports whether there is just one link, so that no other can do better.
func (n *Network) alone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links) == 1
}

// unproven records a proof that failed. One that fails as it did before is
// not told again.
func (n *Network) unproven(l *link, err error) {
	line := fmt.Sprintf("%s: no path: %v", l.name, err)
	n.mu.Lock()
	defer n.mu.Unlock()
	wrongFamily := errors.As(err, new(*familyError))
	if !wrongFamily || n.proofErr == nil { // the other family's lease has more to tell
		l.fault, n.proofErr = "no path: "+err.Error(), err
	}
	if i := slices.IndexFunc(n.proofs, func(p proof) bool { return p.line == line }); i >= 0 {
		again := n.proofs[i]
		again.times++
		n.proofs = append(slices.Delete(n.proofs, i, i+1), again)
		n.log.Debug(line)
		return
	}
	if wrongFamily { // as in every good boot with both families
		n.log.Debug(line)
	} else {
		n.log.Warn(line)
	}
	n.proofs = append(n.proofs, proof{line, 1})
	if len(n.proofs) > maxListed {
		n.proofs = n.proofs[1:]
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
		n.log.Info("network: still waiting: " + Summary(links) + ", " + waited)
		return
	}
	line := "network: still waiting for a network card"
	if w := n.plan.wanted(); w != "" {
		line += " as " + w + " wants it"
	}
	n.log.Info(line + ", " + waited)
}

// ignoredLinks lists the links that the operator's words leave out.
func (n *Network) ignoredLinks() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, s := range n.ignored {
		out = append(out, s+": not asked for")
	}
	slices.Sort(out)
	return out
}

// classOf finds the class of an error of another package.
func classOf(err error) string {
	var c interface{ Class() string }
	if errors.As(err, &c) {
		return c.Class()
	}
	return ""
}
