package stream

import (
	"slices"
	"sync"
	"time"
)

// A request for the rest is for as much as comes in about half a second: a
// larger one holds up readers, a smaller one the rest.
const (
	leastChunk = 256 << 10
	firstChunk = 1 << 20
	mostChunk  = 16 << 20
	chunkTime  = 500 * time.Millisecond
)

// join is how much of what is there is asked for again between two missing
// parts: as much as comes in the time of a request.
const join = 8 << 10

// rest hands out what nobody waits for: the hot spans, then all in order.
type rest struct {
	mu    sync.Mutex
	store *Store
	hot   []Span // what is left of them
	at    int64  // block: all before it are there or were handed out
	under []Span // handed out now
	chunk int64
}

// next is the next span to ask for, of all or of the hot ones alone; ok is
// false where there is none now.
func (r *rest) next(all bool) (span Span, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.hot) > 0 {
		first, last := r.store.blocks(r.hot[0])
		if span, ok = r.missing(first, last); ok {
			return span, true
		}
		r.hot = r.hot[1:]
	}
	if !all {
		return Span{}, false
	}
	last := r.store.Map.Blocks()
	if span, ok = r.missing(r.at, last); !ok && r.at > 0 {
		// What failed, or was dropped, is behind.
		r.at = 0
		span, ok = r.missing(0, last)
	}
	if ok {
		r.at = span.end() / r.store.blockSize()
	}
	return span, ok
}

// missing is the first run that is neither there nor handed out.
func (r *rest) missing(first, last int64) (Span, bool) {
	size := r.store.blockSize()
	for first < last {
		from, to := r.store.Map.Missing(first, last)
		if from == to {
			return Span{}, false
		}
		most := min(last, from+max(1, r.chunk/size))
		for to < most {
			next, end := r.store.Map.Missing(to, most)
			if next == end || (next-to)*size > join {
				break
			}
			to = end
		}
		to = min(to, most)
		span := Span{from * size, (to - from) * size}
		i := slices.IndexFunc(r.under, func(u Span) bool { return u.Off < span.end() && span.Off < u.end() })
		if i < 0 {
			r.under = append(r.under, span)
			return span, true
		}
		if u := r.under[i]; u.Off > span.Off {
			span.Len = u.Off - span.Off
			r.under = append(r.under, span)
			return span, true
		}
		first = r.under[i].end() / size
	}
	return Span{}, false
}

// done takes a span back, and learns from how long it took.
func (r *rest) done(span Span, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.under, span); i >= 0 {
		r.under = slices.Delete(r.under, i, i+1)
	}
	switch {
	case span.Len < r.chunk:
	case took < chunkTime/2:
		r.chunk = min(2*r.chunk, mostChunk)
	case took > 2*chunkTime:
		r.chunk = max(r.chunk/2, leastChunk)
	}
}
