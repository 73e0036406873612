package netup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"netstage/netup/internal/retry"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// checkConnectivity makes the link the winner once the lease is proven, or good enough
// where nothing proves it.
func (c *familyClient) checkConnectivity(ctx context.Context) {
	n := c.n
	select {
	case <-n.board.won:
		return
	default:
	}
	if n.opts.Prove == nil {
		if l := n.board.leaseOf(c.l, c.family); l.Demoted() && (l.Addr.Addr().IsLinkLocalUnicast() || !n.board.alone()) {
			n.board.note(c.l, c.family, "waiting for a better lease", 0, "")
			n.log.Info(fmt.Sprintf("%s: %s leads nowhere, waiting %s for a better lease", c.name, l.Addr, n.opts.Grace))
			if retry.Pause(ctx, n.opts.Grace) != nil {
				return
			}
		}
		n.board.settle(c.l, c.family)
		return
	}
	tries := retry.New(time.Second, 8*time.Second, retry.Rand(c.l.mac))
	for {
		l, news := n.board.view(c.l, c.family)
		if l == nil {
			return
		}
		n.board.note(c.l, c.family, "proving the path", tries.Count()+1, "")
		err := n.prove(ctx, *l)
		if err == nil {
			n.board.settle(c.l, c.family)
			return
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-n.board.won: // by the other family: a lease is enough now
			n.board.note(c.l, c.family, linktable.Bound, 0, "")
			return
		default:
		}
		n.board.unproven(c.l, err)
		again := time.NewTimer(tries.Next())
		select {
		case <-ctx.Done():
		case <-n.board.won:
		case <-news: // the other family's lease may name the DNS servers
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *Network) prove(ctx context.Context, l lease.Lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.opts.ProveTimeout, errors.New("proof of the path timed out"))
	var won sync.WaitGroup
	defer won.Wait()
	defer cancel()
	won.Go(func() {
		select {
		case <-n.board.won:
			cancel()
		case <-ctx.Done():
		}
	})
	return n.opts.Prove(ctx, l)
}

// settle ends the race in favour of a lease of l, unless it is over.
func (b *board) settle(l *link, f lease.Family) {
	if b.win(l, f) {
		b.note(l, f, linktable.Bound, 0, "")
	}
}
