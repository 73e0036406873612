package stream

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How much is asked for around what a reader needs: at least the first, and
// up to the last where readers go on where earlier ones ended.
const (
	leastAhead = 64 << 10
	mostAhead  = 1 << 20
)

// demands are the spans that readers wait for.
type demands struct {
	mu     sync.Mutex
	come   *sync.Cond
	queue  []Span // not begun
	under  []Span // asked for now
	recent []Span // ends of earlier ones, and how much was asked for
	closed bool
}

func newDemands() *demands {
	d := &demands{}
	d.come = sync.NewCond(&d.mu)
	return d
}

// add takes a reader's span. What is asked for already is not asked for again.
func (d *demands) add(s *Store, need Span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	span := d.widen(s, need)
	covers := func(o Span) bool { return o.Off <= need.Off && o.end() >= need.end() }
	if s.has(need) || slices.ContainsFunc(d.queue, covers) || slices.ContainsFunc(d.under, covers) {
		return
	}
	d.queue = append(d.queue, span)
	d.come.Signal()
}

// widen is what to ask for: whole pieces around what is needed, more where it
// follows an earlier one.
func (d *demands) widen(s *Store, need Span) Span {
	ahead := int64(leastAhead)
	for i, r := range d.recent {
		if need.Off >= r.Off-leastAhead && need.Off <= r.Off+leastAhead {
			ahead = min(2*r.Len, mostAhead)
			d.recent = slices.Delete(d.recent, i, i+1)
			break
		}
	}
	first := need.Off / leastAhead * leastAhead
	last := min(max((need.end()+leastAhead-1)/leastAhead*leastAhead, first+ahead), s.size())
	const remembered = 16
	if d.recent = append(d.recent, Span{last, ahead}); len(d.recent) > remembered {
		d.recent = d.recent[1:]
	}
	return Span{first, last - first}
}

// next waits for a span; ok is false when there will be no more.
func (d *demands) next() (span Span, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) == 0 && !d.closed {
		d.come.Wait()
	}
	if d.closed {
		return Span{}, false
	}
	span = d.queue[0]
	d.queue = d.queue[1:]
	d.under = append(d.under, span)
	return span, true
}

func (d *demands) done(span Span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.under, span); i >= 0 {
		d.under = slices.Delete(d.under, i, i+1)
	}
	d.come.Broadcast()
}

func (d *demands) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.come.Broadcast()
}

func (d *demands) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue)+len(d.under) > 0
}

// mostYield bounds how long the rest waits for what readers wait for: a
// mirror that does not answer them must not hold up everything.
const mostYield = 2 * time.Second

// yield waits while a reader waits, and tells whether one did.
func (d *demands) yield(ctx context.Context) (waited bool) {
	for end := time.Now().Add(mostYield); d.busy() && time.Now().Before(end) && ctx.Err() == nil; waited = true {
		time.Sleep(5 * time.Millisecond)
	}
	return waited
}
