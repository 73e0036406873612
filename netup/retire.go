package netup

import (
	"fmt"
	"sync"
)

// retire ends the losers. It returns when no address or route of theirs is
// left to draw traffic; setting them down goes on behind.
func (n *Network) retire() {
	var flushed sync.WaitGroup
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
				if err := flush(n.log, l.index); err != nil {
					n.log.Warn(fmt.Sprintf("%v", err))
				}
			})
		}
		n.wg.Go(func() {
			l.wait()
			if err := l.release(n.log); err != nil {
				n.log.Warn(fmt.Sprintf("%v", err))
			}
			n.retired(l)
		})
	}
	flushed.Wait()
	n.winner.kept.restore(n.log)
}
