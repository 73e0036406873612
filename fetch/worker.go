package fetch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// worker fetches one segment after the other from one mirror.
type worker struct {
	source   *source // the engine's; only what never changes is used
	own      source  // what this worker knows of the mirror
	rng      *rand.Rand
	ctx      context.Context
	cancel   context.CancelCauseFunc
	received atomic.Int64

	idle  bool // there is nothing to do for it
	gauge *floorGauge
	begun int64 // received when the gauge began
}

const workerBuffer = 4 * segmentAlign

// start starts a worker. The pool's lock is held.
func (c *pool) start(s *source) {
	w := &worker{source: s, own: source{location: s.location, url: s.url, name: s.name, version: s.version, client: s.client}}
	w.rng = newRand(c.e.req.Seed + uint64(c.requests.Load()))
	w.ctx, w.cancel = context.WithCancelCause(c.ctx)
	c.workers = append(c.workers, w)
	c.running.Go(func() { c.work(w) })
}

// stop ends a worker; what it has begun is left to the others. The pool's lock is held.
func (c *pool) stop(w *worker) {
	w.cancel(nil)
	c.turn.Broadcast()
}

// work is a worker's life. One whose stream breaks after it brought something goes on; else its mirror gets no more.
func (c *pool) work(w *worker) {
	defer w.cancel(nil)
	buf := make([]byte, workerBuffer)
	for {
		p := c.take(w)
		if p == nil {
			break
		}
		before := w.received.Load()
		err := c.fetch(w, p, buf)
		goes := c.leave(w, p, err, w.received.Load()-before)
		if err == nil {
			continue
		}
		if !goes {
			break
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(c.e.req.Backoff.resume(w.rng)):
		}
	}
	c.retire(w)
}

// retire takes note that a worker has ended.
func (c *pool) retire(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = slices.DeleteFunc(c.workers, func(x *worker) bool { return x == w })
	c.tidy()
}

// leave notes how a worker's segment ended, and says whether it is to go on.
func (c *pool) leave(w *worker, p *segment, err *Error, brought int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.by = nil
	if p.have < p.end {
		// At a block's end: no block is of two mirrors, and nothing stays in
		// the store that can't be verified until somebody brings its rest. The
		// engine may have verified all that is kept, and none of what is not.
		p.have -= (p.have - p.begin) % c.grain
	}
	goes := err == nil
	if err != nil && (w.ctx.Err() == nil || err.class == "stalled") {
		c.faults = append(c.faults, lost{w.source, err})
		goes = err.scope == transient && err.class != "stalled" && brought >= deliveredAtLeast
		if !goes {
			c.barred = append(c.barred, w.source)
		}
	}
	c.tell()
	return goes
}

// fetch brings the rest of a segment.
func (c *pool) fetch(w *worker, p *segment, buf []byte) *Error {
	err := c.request(w, p, buf)
	var own *Error
	if err != nil && errors.As(context.Cause(w.ctx), &own) { // it was cut
		return own
	}
	return err
}

func (c *pool) request(w *worker, p *segment, buf []byte) *Error {
	c.mu.Lock()
	first, last := p.have, p.end-1
	c.mu.Unlock()
	c.requests.Add(1)
	resp, failed := c.e.ask.do(w.ctx, &w.own, first, last, c.must)
	if failed != nil {
		return classify(w.own.name, failed)
	}
	defer resp.Body.Close()
	a, err := checkResponse(&w.own, resp, first, c.must, c.size, c.e.req.Size > 0, c.e.req.RetryAfterCap, c.e.req.Now())
	if err != nil {
		return err
	}
	if !a.part {
		class := "bad-range"
		if _, changed := c.must.differs(validatorOf(resp.Header)); changed {
			class = "changed"
		}
		return newError(transient, class, nil, "%s: sends all where a part was asked for: %s", w.own.name, cmp.Or(a.restart, "it sends no ranges"))
	}
	_, differs := w.own.version.differs(validatorOf(resp.Header))
	w.own.version = validatorOf(resp.Header)
	c.mu.Lock()
	p.sure = w.own.version.ifRange() != "" && !differs
	c.mu.Unlock()
	for {
		n, failed := resp.Body.Read(buf)
		w.received.Add(int64(n))
		c.received.Add(int64(n))
		w.source.ahead.Add(int64(n))
		whole, err := c.put(p, buf[:n])
		switch {
		case err != nil:
			return err
		case whole:
			return nil
		case failed == io.EOF:
			return newError(transient, "short", io.ErrUnexpectedEOF, "%s: the body ended early", w.own.name)
		case failed != nil:
			return classify(w.own.name, failed)
		}
	}
}

// put writes the next bytes of a segment, as far as they are of it, and says whether it is whole. A segment that is divided
// meanwhile loses nothing that its worker may have at hand.
func (c *pool) put(p *segment, b []byte) (whole bool, err *Error) {
	c.mu.Lock()
	have, room := p.have, p.end-p.have
	c.mu.Unlock()
	b = b[:min(int64(len(b)), room)]
	if _, err := c.file.WriteAt(b, have); err != nil {
		return false, storeError(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.have = have + int64(len(b))
	if len(b) > 0 {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
	return p.have == p.end, nil
}
