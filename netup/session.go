package netup

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// session is one stretch of carrier on one link: addresses of both families,
// each by its client. It ends with the carrier, the race, or the Network.
type session struct {
	n      *Network
	l      *link
	name   string
	log    *slog.Logger // the link's
	ctx    context.Context
	cancel context.CancelFunc
	start  time.Time
	// isRunning ends when the kernel has said that the link is running, and
	// portDelay later where the session began before that. running ends it.
	isRunning context.Context
	running   context.CancelFunc
	over      chan struct{}  // closed when the session touches the link no more
	done      chan struct{}  // closed when its sockets are closed too
	tail      sync.WaitGroup // what goes on after over
}

// portDelay is how long the port at the other end of a link may take to be ready
// once the link is: what is sent before would be lost. Mostly the answer to what
// was sent at once is there by then.
const portDelay = 2 * time.Millisecond

// newSession starts a session on a link that has carrier.
func newSession(n *Network, l *link, before *session) *session {
	s := &session{n: n, l: l, name: l.name, log: l.log, start: time.Now(), over: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(l.ctx)
	s.isRunning, s.running = context.WithCancel(s.ctx)
	go func() {
		defer close(s.done)
		defer s.cancel()
		defer s.tail.Wait()
		if before != nil {
			s.tail.Go(func() { <-before.done })
			<-before.over
		}
		s.tail.Go(s.bounceWithoutLease)
		s.tail.Go(s.hintAtFamily)
		s.run()
		close(s.over)
	}()
	return s
}

// run runs the clients until the session ends.
func (s *session) run() {
	var clients sync.WaitGroup
	for _, c := range s.clients() {
		clients.Go(c.run)
	}
	clients.Wait()
	<-s.ctx.Done()
}
