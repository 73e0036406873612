package netup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"netstage/netup/ipparam"
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
		out = append(out, n.links[index].status(n.winner))
	}
	return out
}

// status is the link's row of the table, under Network.mu.
func (l *link) status(winner *link) LinkState {
	s := LinkState{
		Name: l.name, Index: l.index, MAC: l.mac.String(), Driver: l.driver, Bus: l.bus.bus, Device: l.bus.device, ID: l.bus.id,
		Carrier: l.carrier, OperState: l.operState, Seconds: seconds(l.carrierSince), Fault: l.fault, Winner: l == winner,
	}
	f := FamilyState{State: l.state, Sent: l.sent}
	if l.state != "" {
		f.Seconds = seconds(l.since)
	}
	if l.lease != nil {
		f.Address = l.lease.Addr.String()
	}
	if e, ok := dynamic(l.entries); ok && e.Method == ipparam.Auto6 || l.lease != nil && l.lease.Addr.Addr().Is6() {
		s.V6 = f
	} else {
		s.V4 = f
	}
	return s
}

func seconds(since time.Time) int { return int(time.Since(since) / time.Second) }

// note records a link's DHCP state, the number of messages sent in it, and
// a fault, where given.
func (n *Network) note(l *link, state string, sent int, fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if state != "" && state != l.state {
		l.state, l.since = state, time.Now()
	}
	l.sent = sent
	if fault != "" {
		l.fault = fault
	}
}

func (n *Network) leased(l *link, lease *Lease, state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.lease, l.state, l.sent, l.since = lease, state, 0, time.Now()
	l.fault = ""
	if lease == nil {
		l.fault = "the lease was lost"
	}
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
	l.lease, l.state, l.sent, l.since, l.fault = nil, "", 0, time.Now(), "lost the race, set down"
}

func (n *Network) leaseOf(l *link) *Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.lease
}

// alone reports whether there is just one link, so that no other can do better.
func (n *Network) alone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links) == 1
}

// unproven records a proof that failed.
func (n *Network) unproven(l *link, err error) {
	line := fmt.Sprintf("%s: no path: %v", l.name, err)
	n.log.Warn(line)
	n.mu.Lock()
	defer n.mu.Unlock()
	l.fault, n.proofErr = "no path: "+err.Error(), err
	n.proofs = append(n.proofs, line)
	if len(n.proofs) > maxListed {
		n.proofs = n.proofs[1:]
	}
}

// stillWaiting says what every link waits for.
func (n *Network) stillWaiting() {
	links := n.Links()
	if len(links) == 0 {
		line := "network: still waiting for a network card"
		if w := n.plan.wanted(); w != "" {
			line += " as " + w + " wants it"
		}
		n.log.Info(fmt.Sprintf("%s, %d s", line, int(time.Since(n.started).Seconds())))
		return
	}
	var parts []string
	for _, l := range links {
		parts = append(parts, l.String())
	}
	n.log.Info("network: still waiting: " + strings.Join(parts, " | "))
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
