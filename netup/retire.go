package netup

import (
	"fmt"
	"sync"
)

// retire ends the losers. It tells that the race is settled when no address or
// route of theirs is left to draw traffic; setting them down goes on behind.
func (n *Network) retire() {
	var flushed, released sync.WaitGroup
	for _, l := range n.links {
		if l == n.winner {
			continue
		}
		l.cancel()
		n.mu.Lock()
		configured := l.configured || !l.found.empty()
		n.mu.Unlock()
		if configured {
			flushed.Go(func() {
				if l.sess != nil {
					<-l.sess.over
				}
				if err := n.kernel.flush(l.index, l.name); err != nil {
					n.log.Warn(fmt.Sprintf("%v", err))
				}
			})
		}
	}
	flushed.Wait()
	close(n.settled)
	for _, l := range n.links {
		if l == n.winner {
			continue
		}
		released.Go(func() {
			l.wait()
			if err := n.release(l); err != nil {
				n.log.Warn(fmt.Sprintf("%v", err))
			}
			n.retired(l)
		})
	}
	quieted := n.quieted
	n.quieted = nil
	n.wg.Go(func() {
		released.Wait()
		quieted.restore(n.log)
	})
}
