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

// pool fetches ahead of the engine: it has workers, each with a stream of its own, that put segments of the image straight
// to their place in the store. The engine verifies them from there when it comes to them. So whatever the number of
// streams, an image is verified in order, is in memory once, and the only cost besides is that its segments are read again.
type pool struct {
	e      *engine // its client and request; the rest belongs to others
	ctx    context.Context
	end    context.CancelFunc
	file   *os.File
	size   int64     // of the image
	must   validator // what the segments must be a version of; zero: whatever their mirror has, since they are verified
	length int64     // of a new segment
	grain  int64     // of the verifier: segments end at a multiple of it

	mu       sync.Mutex
	turn     *sync.Cond // a worker may find something to do
	segments []*segment // in order
	next     int64      // everything from here on is nobody's yet
	claimed  int64      // what comes before is the engine's, in hand or in a read under way
	workers  []*worker
	barred   []*source // no more workers for these
	faults   []lost
	running  sync.WaitGroup

	news               chan struct{} // something happened that the engine may wait for
	received, requests atomic.Int64
}

// segment is a part of the image, of which the bytes from begin to have are in the store.
type segment struct {
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
	// segmentAlign is a multiple of every dm-verity block size, so that no block is of two segments.
	segmentAlign                    = 64 << 10
	segmentLeast, segmentMost       = 16 * segmentAlign, 32 << 20
	noSegment                 int64 = math.MaxInt64
	shareLeast                      = 32 * segmentAlign // less is not divided; far more than a worker reads at once
)

func newPool(ctx context.Context, e *engine) *pool {
	c := &pool{e: e, file: e.room.file, size: e.size, grain: grain(e.verify), news: make(chan struct{}, 1)}
	c.ctx, c.end = context.WithCancel(ctx)
	c.turn = sync.NewCond(&c.mu)
	if !e.req.vouched() {
		c.must = e.version
	}
	return c
}

// close ends the workers and waits for them.
func (c *pool) close() {
	c.end()
	c.mu.Lock()
	c.turn.Broadcast()
	c.mu.Unlock()
	c.running.Wait()
}

// resize has n workers at work, as far as there are mirrors for them. The engine's own stream is at byte at and reads
// from; a stream brings rate bytes per second.
func (c *pool) resize(n int, at int64, from *source, rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	atWork := c.atWork()
	for _, w := range atWork[min(n, len(atWork)):] {
		c.stop(w)
	}
	for range n - len(atWork) {
		s := c.choose(from)
		if s == nil {
			return
		}
		if len(c.workers) == 0 {
			span := int64(rate * c.e.req.Parallel.Measure.Seconds())
			c.length = min(max(segmentLeast, aligned(span)), segmentMost)
			if from != nil {
				// Far enough ahead that the engine is not there before it is known what more streams bring.
				at += 2 * span
			}
			c.next = max(c.next, aligned(at))
		}
		c.start(s)
	}
}

// atWork are the workers that were not dismissed.
func (c *pool) atWork() []*worker {
	return slices.DeleteFunc(slices.Clone(c.workers), func(w *worker) bool { return w.ctx.Err() != nil })
}

func aligned(n int64) int64 { return (n + segmentAlign - 1) / segmentAlign * segmentAlign }

// choose is the mirror with the fewest streams, the engine's own one included.
func (c *pool) choose(from *source) *source {
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
func (c *pool) stored(at int64) (n int64) {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.segments {
		n += max(0, p.have-max(p.begin, at))
	}
	return n
}

// claim makes up to n bytes from at on the engine's, where no segment begins
// before their end, and returns how many they are: none where the next segment
// begins at at or before.
func (c *pool) claim(at, n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = max(0, min(n, c.first()-at))
	c.claimed = at + n
	return n
}

// has tells whether the pool has what comes at byte at, or brings it.
func (c *pool) has(at int64) bool {
	if c == nil {
		return false
	}
	p, more := c.ready(at)
	return p.have > at || more
}

// ready tells what is in the store at byte at: bytes up to have, from a mirror. When there is none yet, more says
// whether somebody will bring it.
func (c *pool) ready(at int64) (p segment, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = at
	for len(c.segments) > 0 && c.segments[0].have == c.segments[0].end && c.segments[0].end <= at {
		c.segments = c.segments[1:]
	}
	switch {
	case len(c.segments) == 0:
		return segment{}, len(c.workers) > 0 && c.next == at
	case c.segments[0].begin > at:
		return segment{}, false
	}
	return *c.segments[0], len(c.workers) > 0
}

// first is where the first segment begins. The lock is held.
func (c *pool) first() int64 {
	if len(c.segments) == 0 {
		return noSegment
	}
	return c.segments[0].begin
}

// gap is the last byte that the engine has to ask for itself at byte at, -1
// for all that follow.
func (c *pool) gap(at int64) (last int64) {
	if c == nil {
		return -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = at
	if c.first() == noSegment {
		return -1
	}
	return c.first() - 1
}

// drop drops what a mirror brought, and gives it no more to do. All workers end first: a write of the mirror's that
// is under way must not come after one of somebody else's to the same place.
func (c *pool) drop(s *source) {
	c.mu.Lock()
	c.barred = append(c.barred, s)
	for _, w := range c.workers {
		c.stop(w)
	}
	c.mu.Unlock()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments = slices.DeleteFunc(c.segments, func(p *segment) bool { return p.from == s })
	c.tidy()
}

// lost returns the streams that went wrong since it was last asked.
func (c *pool) lost() []lost {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.faults
	c.faults = nil
	return list
}

// tidy drops what nobody will finish when there are no workers left. The lock is held.
func (c *pool) tidy() {
	if len(c.workers) == 0 {
		for _, p := range c.segments {
			p.end = p.have
		}
		c.segments = slices.DeleteFunc(c.segments, func(p *segment) bool { return p.begin == p.end })
		c.next = 0
		if n := len(c.segments); n > 0 {
			c.next = c.segments[n-1].end
		}
	}
	c.tell()
}

// tell has everybody look again.
func (c *pool) tell() {
	c.turn.Broadcast()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// take finds something to do for a worker, and waits for it: a segment that somebody left, the next one, or half of what
// another worker still has before it. Nil when there is no more to do for it.
func (c *pool) take(w *worker) *segment {
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

func (c *pool) pick() *segment {
	var most *segment
	for i, p := range c.segments {
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
		p := &segment{begin: c.next, have: c.next, end: min(c.next+c.length, c.size)}
		c.segments, c.next = append(c.segments, p), p.end
		return p
	}
	if most == nil || most.end-most.have < shareLeast {
		return nil
	}
	return c.divide(slices.Index(c.segments, most), aligned(most.have+(most.end-most.have)/2))
}

// divide cuts the i-th segment at a byte and returns its second part.
func (c *pool) divide(i int, at int64) *segment {
	p := c.segments[i]
	q := &segment{begin: at, have: at, end: p.end}
	p.end = at
	c.segments = slices.Insert(c.segments, i+1, q)
	return q
}

// watch cuts streams below the floor; they share it.
func (c *pool) watch(now time.Time) {
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
