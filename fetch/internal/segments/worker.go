package segments

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// worker fetches one segment after the other from one mirror.
type worker struct {
	pool     *Pool
	mirror   *mirror.Mirror // the engine's; only what never changes is used
	own      *mirror.Mirror // what this worker knows of it
	rng      *rand.Rand
	ctx      context.Context
	cancel   context.CancelCauseFunc
	received atomic.Int64

	idle  bool // there is nothing to do for it
	gauge *pace.Gauge
	begun int64 // received when the gauge began
}

const workerBuffer = 4 * align

// start starts a worker. The pool's lock is held.
func (p *Pool) start(m *mirror.Mirror) {
	w := &worker{pool: p, mirror: m, own: m.Own()}
	w.rng = pace.NewRand(p.c.Seed + uint64(p.requests.Load()))
	w.ctx, w.cancel = context.WithCancelCause(p.ctx)
	p.workers = append(p.workers, w)
	p.running.Go(w.work)
}

// stop ends a worker; what it has begun is left to the others. The pool's lock
// is held.
func (p *Pool) stop(w *worker) {
	w.cancel(nil)
	p.turn.Broadcast()
}

// work is a worker's life. One whose stream breaks after it brought something
// goes on; else its mirror gets no more.
func (w *worker) work() {
	defer w.cancel(nil)
	buf := make([]byte, workerBuffer)
	for {
		s := w.pool.assign(w)
		if s == nil {
			break
		}
		before := w.received.Load()
		err := w.fetch(s, buf)
		goes := w.pool.release(w, s, err, w.received.Load()-before)
		if err == nil {
			continue
		}
		if !goes {
			break
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(w.pool.c.Backoff.Resume(w.rng)):
		}
	}
	w.pool.remove(w)
}

// assign finds something to do for a worker, and waits for it. Nil when there
// is no more to do for it.
func (p *Pool) assign(w *worker) *Segment {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if w.ctx.Err() != nil {
			return nil
		}
		if s := p.table.pick(); s != nil {
			s.by, s.From, s.Sure = w, w.mirror, false
			return s
		}
		w.idle = true
		p.turn.Wait()
		w.idle = false
	}
}

// release notes how a worker's segment ended, and says whether it is to go on.
func (p *Pool) release(w *worker, s *Segment, err *mirror.Fault, brought int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.release(s)
	goes := err == nil
	if err != nil && (w.ctx.Err() == nil || err.Class == fault.Stalled) {
		p.lost = append(p.lost, Lost{w.mirror, err})
		goes = err.Scope == mirror.Transient && err.Class != fault.Stalled && mirror.Delivers(brought)
		if !goes {
			p.barred = append(p.barred, w.mirror)
		}
	}
	p.wake()
	return goes
}

// remove takes note that a worker has ended.
func (p *Pool) remove(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers = slices.DeleteFunc(p.workers, func(x *worker) bool { return x == w })
	p.tidy()
}

// fetch brings the rest of a segment.
func (w *worker) fetch(s *Segment, buf []byte) *mirror.Fault {
	err := w.request(s, buf)
	var own *mirror.Fault
	if err != nil && errors.As(context.Cause(w.ctx), &own) { // it was cut
		return own
	}
	return err
}

func (w *worker) request(s *Segment, buf []byte) *mirror.Fault {
	p := w.pool
	p.mu.Lock()
	first, last := s.Have, s.End-1
	p.mu.Unlock()
	p.requests.Add(1)
	resp, failed := p.c.Requester.Do(w.ctx, w.own, mirror.Part{First: first, Last: last, Version: p.c.Version})
	if failed != nil {
		return mirror.Classify(w.own.Name, failed)
	}
	defer resp.Body.Close()
	a, err := p.c.Requester.Check(w.own, resp, mirror.Expect{Offset: first, Version: p.c.Version, Size: p.c.Size, Trusted: p.c.Trusted})
	if err != nil {
		return err
	}
	if !a.Part {
		class := fault.BadRange
		if _, changed := p.c.Version.Differs(mirror.ValidatorOf(resp.Header)); changed {
			class = fault.Changed
		}
		return mirror.NewFault(mirror.Transient, class, nil, "%s: sends all where a part was asked for: %s", w.own.Name, cmp.Or(a.Restart, "it sends no ranges"))
	}
	_, differs := w.own.Version.Differs(mirror.ValidatorOf(resp.Header))
	w.own.Version = mirror.ValidatorOf(resp.Header)
	p.mu.Lock()
	s.Sure = w.own.Version.IfRange() != "" && !differs
	p.mu.Unlock()
	return w.copyBody(s, resp.Body, buf)
}

// copyBody copies a body to the place of its segment.
func (w *worker) copyBody(s *Segment, body io.Reader, buf []byte) *mirror.Fault {
	for {
		n, failed := body.Read(buf)
		w.received.Add(int64(n))
		w.pool.received.Add(int64(n))
		w.mirror.BroughtAhead(int64(n))
		whole, err := w.pool.put(s, buf[:n])
		switch {
		case err != nil:
			return err
		case whole:
			return nil
		case failed == io.EOF:
			return mirror.NewFault(mirror.Transient, fault.Short, io.ErrUnexpectedEOF, "%s: the body ended early", w.own.Name)
		case failed != nil:
			return mirror.Classify(w.own.Name, failed)
		}
	}
}

// put writes the next bytes of a segment, as far as they are of it, and says
// whether it is whole. A segment that is divided meanwhile loses nothing that
// its worker may have at hand.
func (p *Pool) put(s *Segment, b []byte) (whole bool, err *mirror.Fault) {
	p.mu.Lock()
	have, room := s.Have, s.End-s.Have
	p.mu.Unlock()
	b = b[:min(int64(len(b)), room)]
	if _, err := p.c.File.WriteAt(b, have); err != nil {
		return false, mirror.StoreFault(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Have = have + int64(len(b))
	if len(b) > 0 {
		p.notify()
	}
	return s.Have == s.End, nil
}
