package fetch

import (
	"context"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crew is who fetches ahead of the engine: workers, each with a stream of its own, that put pieces of the image straight
// to their place in the store. The engine verifies them from there when it comes to them. So whatever the number of
// streams, an image is verified in order, is in memory once, and the only cost besides is that its pieces are read again.
type crew struct {
	e      *engine // its client and request; the rest belongs to others
	ctx    context.Context
	end    context.CancelFunc
	file   *os.File
	size   int64     // of the image
	must   validator // what the pieces must be a version of; zero: whatever their mirror has, since they are verified
	length int64     // of a new piece
	grain  int64     // of the verifier: pieces end at a multiple of it

	mu      sync.Mutex
	turn    *sync.Cond // a worker may find something to do
	pieces  []*piece   // in order
	next    int64      // everything from here on is nobody's yet
	claimed int64      // what comes before is the engine's, in hand or in a read under way
	workers []*worker
	barred  []*source // no more workers for these
	faults  []lost
	running sync.WaitGroup

	news               chan struct{} // something happened that the engine may wait for
	received, requests atomic.Int64
}

// piece is a part of the image, of which the bytes from begin to have are in the store.
type piece struct {
	begin, have, end int64
	by               *worker // who is at it; nil: nobody
	from             *source
	sure             bool // the mirror told which version it is
}

// lost is a stream that went wrong.
type lost struct {
	from *source
	err  *Error
}

const (
	// pieceAlign is a multiple of every dm-verity block size, so that no block is of two pieces.
	pieceAlign                  = 64 << 10
	pieceLeast, pieceMost       = 16 * pieceAlign, 32 << 20
	pieceTime                   = 2 * time.Second
	noPiece               int64 = math.MaxInt64
	shareLeast                  = 32 * pieceAlign // less is not divided; far more than a worker reads at once
)

func newCrew(ctx context.Context, e *engine) *crew {
	c := &crew{e: e, file: e.room.file, size: e.size, grain: grain(e.verify), news: make(chan struct{}, 1)}
	c.ctx, c.end = context.WithCancel(ctx)
	c.turn = sync.NewCond(&c.mu)
	if !e.req.vouched() {
		c.must = e.version
	}
	return c
}

// close ends the workers and waits for them.
func (c *crew) close() {
	c.end()
	c.mu.Lock()
	c.turn.Broadcast()
	c.mu.Unlock()
	c.running.Wait()
}

// resize has n workers at work, as far as there are mirrors for them. The engine's own stream is at byte at and reads
// from; a stream brings rate bytes per second.
func (c *crew) resize(n int, at int64, from *source, rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	atWork := c.atWork()
	for _, w := range atWork[min(n, len(atWork)):] {
		c.dismiss(w)
	}
	for range n - len(atWork) {
		s := c.choose(from)
		if s == nil {
			return
		}
		if len(c.workers) == 0 {
			span := int64(rate * c.e.req.Parallel.Measure.Seconds())
			c.length = min(max(pieceLeast, aligned(span)), pieceMost)
			if from != nil {
				// Far enough ahead that the engine is not there before it is known what more streams bring.
				at += 2 * span
			}
			c.next = max(c.next, aligned(at))
		}
		c.hire(s)
	}
}

// atWork are the workers that were not dismissed.
func (c *crew) atWork() []*worker {
	return slices.DeleteFunc(slices.Clone(c.workers), func(w *worker) bool { return w.ctx.Err() != nil })
}

func aligned(n int64) int64 { return (n + pieceAlign - 1) / pieceAlign * pieceAlign }

// choose is the mirror with the fewest streams, the engine's own one included.
func (c *crew) choose(from *source) *source {
	streams := map[*source]int{from: 1}
	for _, w := range c.workers {
		streams[w.source]++
	}
	var best *source
	for _, s := range c.e.sources {
		if s.dead != nil || s.noRanges || s.url.Scheme == "tftp" || s.ready.After(time.Now()) || slices.Contains(c.barred, s) {
			continue
		}
		if best == nil || streams[s] < streams[best] {
			best = s
		}
	}
	return best
}

// stored is how many bytes from at on are in the store.
func (c *crew) stored(at int64) (n int64) {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pieces {
		n += max(0, p.have-max(p.begin, at))
	}
	return n
}

// claim makes up to n bytes from at on the engine's, where no piece begins
// before their end, and returns how many they are: none where the next piece
// begins at at or before.
func (c *crew) claim(at, n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = max(0, min(n, c.first()-at))
	c.claimed = at + n
	return n
}

// has tells whether the crew has what comes at byte at, or brings it.
func (c *crew) has(at int64) bool {
	if c == nil {
		return false
	}
	p, more := c.ready(at)
	return p.have > at || more
}

// ready tells what is in the store at byte at: bytes up to have, from a mirror. When there is none yet, more says
// whether somebody will bring it.
func (c *crew) ready(at int64) (p piece, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = at
	for len(c.pieces) > 0 && c.pieces[0].have == c.pieces[0].end && c.pieces[0].end <= at {
		c.pieces = c.pieces[1:]
	}
	switch {
	case len(c.pieces) == 0:
		return piece{}, len(c.workers) > 0 && c.next == at
	case c.pieces[0].begin > at:
		return piece{}, false
	}
	return *c.pieces[0], len(c.workers) > 0
}

// first is where the first piece begins. The lock is held.
func (c *crew) first() int64 {
	if len(c.pieces) == 0 {
		return noPiece
	}
	return c.pieces[0].begin
}

// gap is the last byte that the engine has to ask for itself at byte at, -1
// for all that follow.
func (c *crew) gap(at int64) (last int64) {
	if c == nil {
		return -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = at
	if c.first() == noPiece {
		return -1
	}
	return c.first() - 1
}

// forsake drops what a mirror brought, and gives it no more to do. All workers end first: a write of the mirror's that
// is under way must not come after one of somebody else's to the same place.
func (c *crew) forsake(s *source) {
	c.mu.Lock()
	c.barred = append(c.barred, s)
	for _, w := range c.workers {
		c.dismiss(w)
	}
	c.mu.Unlock()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pieces = slices.DeleteFunc(c.pieces, func(p *piece) bool { return p.from == s })
	c.tidy()
}

// lost returns the streams that went wrong since it was last asked.
func (c *crew) lost() []lost {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.faults
	c.faults = nil
	return list
}

// tidy drops what nobody will finish when there are no workers left. The lock is held.
func (c *crew) tidy() {
	if len(c.workers) == 0 {
		for _, p := range c.pieces {
			p.end = p.have
		}
		c.pieces = slices.DeleteFunc(c.pieces, func(p *piece) bool { return p.begin == p.end })
		c.next = 0
		if n := len(c.pieces); n > 0 {
			c.next = c.pieces[n-1].end
		}
	}
	c.tell()
}

// tell has everybody look again.
func (c *crew) tell() {
	c.turn.Broadcast()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// take finds something to do for a worker, and waits for it: a piece that somebody left, the next one, or half of what
// another worker still has before it. Nil when there is no more to do for it.
func (c *crew) take(w *worker) *piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if w.ctx.Err() != nil {
			return nil
		}
		if p := c.pick(); p != nil {
			p.by, p.from, p.sure = w, w.source, false
			return p
		}
		w.idle = true
		c.turn.Wait()
		w.idle = false
	}
}

func (c *crew) pick() *piece {
	var most *piece
	for i, p := range c.pieces {
		switch {
		case p.have == p.end:
		case p.by == nil && p.have == p.begin:
			return p
		case p.by == nil:
			return c.divide(i, p.have)
		case most == nil || p.end-p.have > most.end-most.have:
			most = p
		}
	}
	c.next = max(c.next, aligned(c.claimed))
	if c.next < c.size {
		p := &piece{begin: c.next, have: c.next, end: min(c.next+c.length, c.size)}
		c.pieces, c.next = append(c.pieces, p), p.end
		return p
	}
	if most == nil || most.end-most.have < shareLeast {
		return nil
	}
	return c.divide(slices.Index(c.pieces, most), aligned(most.have+(most.end-most.have)/2))
}

// divide cuts the i-th piece at a byte and returns its second part.
func (c *crew) divide(i int, at int64) *piece {
	p := c.pieces[i]
	q := &piece{begin: at, have: at, end: p.end}
	p.end = at
	c.pieces = slices.Insert(c.pieces, i+1, q)
	return q
}

// watch cuts streams below the floor; they share it.
func (c *crew) watch(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		if w.idle {
			w.gauge = nil
			continue
		}
		if w.gauge == nil {
			floor := c.e.req.Floor
			floor.Bytes /= int64(c.e.req.Parallel.Streams)
			w.gauge, w.begun = newFloorGauge(floor, now), w.received.Load()
		}
		if rate, stalled := w.gauge.add(now, w.received.Load()-w.begun, false); stalled {
			w.cancel(newError(transient, "stalled", nil, "%s: stalled: %s over %v", w.source.name, rateString(rate), c.e.req.Floor.Window))
		}
	}
}
