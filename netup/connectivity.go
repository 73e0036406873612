package netup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"netstage/netup/internal/dial"
	"netstage/netup/internal/retry"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// checkConnectivity makes the link the winner once the lease is proven, or good
// enough where nothing proves it. False says that the proof failed and that the
// link is to try what else it has; that is asked for by others.
func (c *familyClient) checkConnectivity(ctx context.Context, others bool) bool {
	n := c.n
	select {
	case <-n.board.won:
		return true
	default:
	}
	if n.opts.Prove == nil {
		if l := n.board.leaseOf(c.l, c.family); l.Demoted() && (l.Addr.Addr().IsLinkLocalUnicast() || !n.board.alone()) {
			n.board.note(c.l, c.family, "waiting for a better lease", 0, "")
			c.log.Info(fmt.Sprintf("%s leads nowhere, waiting %s for a better lease", l.Addr, n.opts.Grace))
			if retry.Pause(ctx, n.opts.Grace) != nil {
				return true
			}
		}
		n.board.settle(c.l, c.family)
		return true
	}
	for {
		l, news := n.board.view(c.l, c.family)
		if l == nil {
			return true
		}
		n.board.note(c.l, c.family, linktable.Proving, c.tries.Count()+1, "")
		err := c.prove(ctx, *l)
		if err == nil {
			n.board.settle(c.l, c.family)
			return true
		}
		if ctx.Err() != nil {
			return true
		}
		select {
		case <-n.board.won: // by the other family: a lease is enough now
			n.board.note(c.l, c.family, linktable.Bound, 0, "")
			return true
		default:
		}
		n.board.unproven(c.l, err)
		again := time.NewTimer(c.tries.Next())
		select {
		case <-ctx.Done():
		case <-n.board.won:
		case <-news: // the other family's lease may name the DNS servers
		case <-again.C:
			if others && !errors.As(err, new(*dial.FamilyError)) {
				return false
			}
		}
		again.Stop()
		if ctx.Err() != nil {
			return true
		}
	}
}

// another goes on from a lease that led nowhere: to its next gateway, to
// another server or router, and in the end from the first one again. The lease
// stays where there is nothing else.
func (c *familyClient) another(p protocol, l lease.Lease) (lease.Lease, error) {
	next := l
	if c.round == 0 { // all gateways of the lease, the first one included
		c.round = 1 + len(l.Gateways)
	}
	switch c.round--; {
	case c.round > 0:
		next = l.By(l.Gateways[0])
	case !time.Now().Before(c.others):
		ctx, done := c.n.board.untilWon(c.ctx)
		c.looking.Store(true)
		other, closer, ok := p.Another(ctx, l)
		c.looking.Store(false)
		done()
		c.tail.Go(closer)
		if c.ctx.Err() != nil {
			return l, c.ctx.Err()
		}
		if ok {
			next, c.looks = other, 0
		} else if len(l.Gateways) > 0 {
			next = l.By(l.Gateways[0])
		}
		// Servers are not to be flooded by machines that wait for an image.
		c.others = time.Now().Add(time.Second << min(c.looks, 6))
		c.looks++
	case len(l.Gateways) > 0:
		next = l.By(l.Gateways[0])
	}
	select {
	case <-c.n.board.won: // by the other family: this lease is good enough
		c.n.board.note(c.l, c.family, linktable.Bound, 0, "")
		return l, nil
	default:
	}
	if next.Says(l) && next.Server == l.Server {
		return l, nil
	}
	if !c.n.board.mayConfigure(c.l) {
		return l, context.Canceled
	}
	next.Took = l.Took
	c.log.Info(fmt.Sprintf("%s led nowhere, trying %s", l, next))
	if err := c.configure(next); err != nil {
		return l, err
	}
	c.n.board.leased(c.l, c.family, &next, linktable.Bound)
	return next, nil
}

// untilWon is a context that ends when the race is won. The function returned
// ends it, and what it takes.
func (b *board) untilWon(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-b.won:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watch.Wait()
	}
}

func (c *familyClient) prove(ctx context.Context, l lease.Lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.n.opts.ProveTimeout, errors.New("proof of the path timed out"))
	defer cancel()
	ctx, done := c.n.board.untilWon(ctx)
	defer done()
	return c.n.opts.Prove(ctx, l)
}

// settle ends the race in favour of a lease of l, unless it is over.
func (b *board) settle(l *link, f lease.Family) {
	if b.win(l, f) {
		b.note(l, f, linktable.Bound, 0, "")
	}
}
