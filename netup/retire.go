package netup

import (
	"errors"
	"sync"

	"github.com/vishvananda/netlink"
)

// retire ends the losers. It tells that the race is settled when no address or
// route of theirs is left to draw traffic; setting them down goes on behind.
func (n *Network) retire() {
	var flushed, released sync.WaitGroup
	for _, l := range n.board.links {
		if l == n.board.winner {
			continue
		}
		l.cancel()
		n.board.mu.Lock()
		configured := l.configured || !l.existing.Empty()
		n.board.mu.Unlock()
		if configured {
			flushed.Go(func() {
				if l.sess != nil {
					<-l.sess.over
				}
				if err := l.kernel.Flush(); err != nil {
					l.log.Warn(err.Error())
				}
			})
		}
	}
	flushed.Wait()
	close(n.settled)
	for _, l := range n.board.links {
		if l == n.board.winner {
			continue
		}
		released.Go(func() {
			l.wait()
			if err := n.release(l); err != nil {
				l.log.Warn(err.Error())
			}
			n.board.retired(l)
		})
	}
	arpFlux := n.arpFlux
	n.arpFlux = nil
	n.wg.Go(func() {
		released.Wait()
		arpFlux.Restore(n.log)
	})
}

// release gives a link back: no addresses, no routes, its own settings, down.
func (n *Network) release(l *link) error {
	// Down first: the kernel then drops routes and IPv6 addresses at once, and
	// with its settings back it would give the link addresses again.
	var err error
	if n.board.winner == nil || !n.plan.Carries(l.name, l.mac, n.board.winner.name) {
		err = l.kernel.SetDown()
	}
	l.autoconf.Restore(l.log)
	n.board.mu.Lock()
	configured, mtu := l.configured || !l.existing.Empty() || l.autoconf != nil, l.setMTU != 0
	n.board.mu.Unlock()
	if configured {
		err = errors.Join(err, l.kernel.FlushAddrs(netlink.FAMILY_ALL))
	}
	if mtu {
		err = errors.Join(err, l.kernel.ResetMTU(l.mtu))
	}
	return err
}
