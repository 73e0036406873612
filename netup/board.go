package netup

import (
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/lease"
)

// board is what all goroutines of a Network know of its links, and of who has
// won.
type board struct {
	sysfs string
	won   chan struct{} // closed when winner is set

	mu       sync.Mutex
	links    map[int]*link
	ignored  map[int]string // links left out, and why
	winner   *link
	family   lease.Family // of the lease by which it won
	proofs   []proof      // failed ones, newest last, bounded
	proofErr error
}

// carrierLost is the fault of a link that had carrier.
const carrierLost = "the carrier was lost"

// newBoard is a board without links.
func newBoard(sysfs string) *board {
	return &board{sysfs: sysfs, won: make(chan struct{}), links: map[int]*link{}, ignored: map[int]string{}}
}

// win makes l the winner by a family's lease, unless another link was faster.
func (b *board) win(l *link, f lease.Family) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.winner != nil || l.families[f].lease == nil {
		return b.winner == l
	}
	b.winner, b.family, l.fault = l, f, ""
	close(b.won)
	return true
}

// isWon reports whether the race is over.
func (b *board) isWon() bool {
	select {
	case <-b.won:
		return true
	default:
		return false
	}
}

// leases are those of the winning link: the one that won, where it still
// stands, then the one of the other family.
func (b *board) leases() []lease.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.winner == nil {
		return nil
	}
	var out []lease.Lease
	for _, f := range []lease.Family{b.family, b.family.Other()} {
		if l := b.winner.families[f].lease; l != nil {
			out = append(out, *l)
		}
	}
	return out
}

// noteCarrier notes what the kernel says of a link, and returns whether it had
// carrier before.
func (b *board) noteCarrier(l *link, a *netlink.LinkAttrs, up, bond bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := l.carrier
	l.operState, l.carrier = a.OperState.String(), up
	if l.sess == nil && len(l.entries) > 0 && bond {
		l.mac = a.HardwareAddr // its first slave's, by now
	}
	if was != up {
		l.carrierSince, l.speed = time.Now(), 0
		for f := range l.families {
			l.families[f].sent = 0
			if !up {
				l.families[f].state = ""
			}
		}
		if !up && l.ctx.Err() == nil {
			l.fault = carrierLost
		}
	}
	return was
}
