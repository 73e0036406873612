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
// link is to try what else it has, where failOver says that it can.
func (c *familyClient) checkConnectivity(ctx context.Context, failOver bool) bool {
	board := c.n.board
	if board.isWon() {
		return true
	}
	if c.n.opts.Prove == nil {
		if c.awaitBetterLease(ctx) {
			board.declareWinner(c.l, c.family)
		}
		return true
	}
	for {
		l, news := board.joinedLease(c.l, c.family)
		if l == nil {
			return true
		}
		board.note(c.l, c.family, linktable.Proving, c.tries.Count()+1, "")
		err := c.prove(ctx, *l)
		switch {
		case err == nil:
			board.declareWinner(c.l, c.family)
			return true
		case ctx.Err() != nil:
			return true
		case board.isWon(): // by the other family: a lease is enough now
			board.note(c.l, c.family, linktable.Bound, 0, "")
			return true
		}
		board.unproven(c.l, err)
		waited := c.awaitNextProof(ctx, news)
		if ctx.Err() != nil {
			return true
		}
		if waited && failOver && !errors.As(err, new(*dial.FamilyError)) {
			return false
		}
	}
}

// awaitBetterLease gives other links time where a lease leads nowhere. False is
// the end of ctx.
func (c *familyClient) awaitBetterLease(ctx context.Context) bool {
	l := c.n.board.leaseOf(c.l, c.family)
	if !l.Demoted() || !l.Addr.Addr().IsLinkLocalUnicast() && c.n.board.onlyLink() {
		return true
	}
	c.n.board.note(c.l, c.family, "waiting for a better lease", 0, "")
	c.log.Info(fmt.Sprintf("%s leads nowhere, waiting %s for a better lease", l.Addr, c.n.opts.Grace))
	return retry.Pause(ctx, c.n.opts.Grace) == nil
}

// awaitNextProof waits until a proof that failed is worth another try, and
// reports whether that took all its time.
func (c *familyClient) awaitNextProof(ctx context.Context, news <-chan struct{}) bool {
	again := time.NewTimer(c.tries.Next())
	defer again.Stop()
	select {
	case <-ctx.Done():
	case <-c.n.board.won:
	case <-news: // the other family's lease may name the DNS servers
	case <-again.C:
		return true
	}
	return false
}

// failOver goes on from a lease that led nowhere: to its next gateway, to
// another server or router, and in the end from the first one again. The lease
// stays where there is nothing else.
func (c *familyClient) failOver(p protocol, l lease.Lease) (lease.Lease, error) {
	next := l
	if c.gatewaysLeft == 0 { // all gateways of the lease, the first one included
		c.gatewaysLeft = 1 + len(l.Gateways)
	}
	switch c.gatewaysLeft--; {
	case c.gatewaysLeft > 0:
		next = l.By(l.Gateways[0])
	case !time.Now().Before(c.searchAfter):
		ctx, done := c.n.board.untilWon(c.ctx)
		c.searching.Store(true)
		other, closer, ok := p.Another(ctx, l)
		c.searching.Store(false)
		done()
		c.tail.Go(closer)
		if c.ctx.Err() != nil {
			return l, c.ctx.Err()
		}
		if ok {
			next, c.searches = other, 0
		} else if len(l.Gateways) > 0 {
			next = l.By(l.Gateways[0])
		}
		// Servers are not to be flooded by machines that wait for an image.
		c.searchAfter = time.Now().Add(time.Second << min(c.searches, 6))
		c.searches++
	case len(l.Gateways) > 0:
		next = l.By(l.Gateways[0])
	}
	if c.n.board.isWon() { // by the other family: this lease is good enough
		c.n.board.note(c.l, c.family, linktable.Bound, 0, "")
		return l, nil
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

// prove has the caller say whether a lease leads to where it wants to go.
func (c *familyClient) prove(ctx context.Context, l lease.Lease) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.n.opts.ProveTimeout, errors.New("proof of the path timed out"))
	defer cancel()
	ctx, done := c.n.board.untilWon(ctx)
	defer done()
	return c.n.opts.Prove(ctx, l)
}

// declareWinner ends the race in favour of a lease of l, unless it is over.
func (b *board) declareWinner(l *link, f lease.Family) {
	if b.win(l, f) {
		b.note(l, f, linktable.Bound, 0, "")
	}
}
