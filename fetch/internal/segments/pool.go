// Package segments fetches parts of an image ahead of whoever verifies it, on
// several streams.
package segments

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// Config is what a pool fetches, from where and how.
type Config struct {
	Requester *mirror.Requester
	Mirrors   []*mirror.Mirror
	File      *os.File         // of the store: the segments go to their place in it
	Size      int64            // of the image
	Trusted   bool             // the size comes from the operator
	Version   mirror.Validator // what the segments must be a version of; zero: whatever their mirror has, since they are verified
	Grain     int64            // of the verifier
	Seed      uint64
	Backoff   pace.Backoff
	LowSpeed  pace.LowSpeedLimit // of a stream that is alone
	Parallel  pace.Parallel
}

// Pool has workers, each with a stream of its own, that put segments of the
// image straight to their place in the store. The engine verifies them from
// there when it comes to them. So whatever the number of streams, an image is
// verified in order, is in memory once, and the only cost besides is that its
// segments are read again. A nil pool has nothing.
type Pool struct {
	c   Config
	ctx context.Context
	end context.CancelFunc

	mu      sync.Mutex
	turn    *sync.Cond // a worker may find something to do
	table   table
	workers []*worker
	barred  []*mirror.Mirror // no more workers for these
	lost    []Lost
	running sync.WaitGroup

	news               chan struct{}
	received, requests atomic.Int64
}

// Lost is a stream that went wrong.
type Lost struct {
	From  *mirror.Mirror
	Fault *mirror.Fault
}

// New makes a pool without workers. It is to be closed.
func New(ctx context.Context, c Config) *Pool {
	p := &Pool{c: c, table: table{size: c.Size, grain: c.Grain}, news: make(chan struct{}, 1)}
	p.ctx, p.end = context.WithCancel(ctx)
	p.turn = sync.NewCond(&p.mu)
	return p
}

// Close ends the workers and waits for them.
func (p *Pool) Close() {
	p.end()
	p.mu.Lock()
	p.turn.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
}

// News is sent to when something happened that the engine may wait for.
func (p *Pool) News() <-chan struct{} { return p.news }

// Received is how many bytes came on all streams.
func (p *Pool) Received() int64 {
	if p == nil {
		return 0
	}
	return p.received.Load()
}

// Requests is how many there were.
func (p *Pool) Requests() int { return int(p.requests.Load()) }

// Resize has n workers at work, as far as there are mirrors for them. The
// engine's own stream is at byte at and reads from a mirror, nil where there is
// no such stream; each brings rate bytes per second.
func (p *Pool) Resize(n int, at int64, from *mirror.Mirror, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	atWork := p.atWork()
	for _, w := range atWork[min(n, len(atWork)):] {
		p.stop(w)
	}
	for range n - len(atWork) {
		m := p.choose(from)
		if m == nil {
			return
		}
		if len(p.workers) == 0 {
			span := int64(rate * p.c.Parallel.Measure.Seconds())
			p.table.length = min(max(least, aligned(span)), most)
			if from != nil {
				// Far enough ahead that the engine is not there before it is
				// known what more streams bring.
				at += 2 * span
			}
			p.table.next = max(p.table.next, aligned(at))
		}
		p.start(m)
	}
}

// atWork are the workers that were not dismissed.
func (p *Pool) atWork() []*worker {
	return slices.DeleteFunc(slices.Clone(p.workers), func(w *worker) bool { return w.ctx.Err() != nil })
}

// choose is the mirror with the fewest streams, the engine's own one included.
func (p *Pool) choose(from *mirror.Mirror) *mirror.Mirror {
	streams := map[*mirror.Mirror]int{from: 1}
	for _, w := range p.workers {
		streams[w.mirror]++
	}
	now := time.Now()
	var best *mirror.Mirror
	for _, m := range mirror.Preferred(p.c.Mirrors) {
		if !m.SendsParts(now) || slices.Contains(p.barred, m) {
			continue
		}
		if best == nil || streams[m] < streams[best] {
			best = m
		}
	}
	return best
}

// Stored is how many bytes from at on are in the store.
func (p *Pool) Stored(at int64) int64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.stored(at)
}

// Claim makes up to n bytes from at on the engine's, where no segment begins
// before their end, and returns how many they are: none where the next segment
// begins at at or before.
func (p *Pool) Claim(at, n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.claim(at, n)
}

// Has tells whether the pool has what comes at byte at, or brings it.
func (p *Pool) Has(at int64) bool {
	if p == nil {
		return false
	}
	s, more := p.Ready(at)
	return s.Have > at || more
}

// Ready tells what is in the store at byte at: bytes up to Have, from a mirror.
// When there is none yet, more says whether somebody will bring it.
func (p *Pool) Ready(at int64) (s Segment, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, more = p.table.ready(at)
	return s, more && len(p.workers) > 0
}

// Gap is the last byte that the engine has to ask for itself at byte at, -1 for
// all that follow.
func (p *Pool) Gap(at int64) (last int64) {
	if p == nil {
		return -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.gap(at)
}

// Drop drops what a mirror brought, and gives it no more to do. All workers end
// first: a write of the mirror's that is under way must not come after one of
// somebody else's to the same place.
func (p *Pool) Drop(m *mirror.Mirror) {
	p.mu.Lock()
	p.barred = append(p.barred, m)
	for _, w := range p.workers {
		p.stop(w)
	}
	p.mu.Unlock()
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.drop(m)
	p.tidy()
}

// Lost returns the streams that went wrong since it was last asked.
func (p *Pool) Lost() []Lost {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.lost
	p.lost = nil
	return list
}

// tidy drops what nobody will finish when there are no workers left. The lock
// is held.
func (p *Pool) tidy() {
	if len(p.workers) == 0 {
		p.table.abandon()
	}
	p.wake()
}

// wake has everybody look again.
func (p *Pool) wake() {
	p.turn.Broadcast()
	p.notify()
}

// notify has the engine look again.
func (p *Pool) notify() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// Watch cuts streams below the low-speed limit; they share it.
func (p *Pool) Watch(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.idle {
			w.gauge = nil
			continue
		}
		if w.gauge == nil {
			limit := p.c.LowSpeed
			limit.Bytes /= int64(p.c.Parallel.Streams)
			w.gauge, w.begun = pace.NewGauge(limit, now), w.received.Load()
		}
		if rate, stalled := w.gauge.Add(now, w.received.Load()-w.begun, false); stalled {
			w.cancel(mirror.NewFault(mirror.Transient, fault.Stalled, nil, "%s: stalled: %s over %v", w.mirror.Name, pace.RateString(rate), p.c.LowSpeed.Window))
		}
	}
}
