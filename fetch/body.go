package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// copyBody streams a body into the store, verifying, up to where the pool begins.
func (e *engine) copyBody(ctx context.Context, cancel context.CancelCauseFunc, s *source, body io.Reader, a answer) (whole bool, fault *Error) {
	var f flow
	begin := e.offset
	if e.pool != nil {
		body = &upToPool{Reader: body, pool: e.pool, at: begin}
	}
	stopWatch := e.watch(cancel, s, &f, begin)
	err := e.ring.pump(body, &f, func() { cancel(nil) }, func(p []byte) error { return e.keep(s, p) })
	stopWatch()
	e.admit()
	e.stats.Received += f.received.Load()
	s.bytes += f.received.Load()
	if e.offset-begin >= deliveredAtLeast {
		s.failures, s.delivered = 0, true
	}
	var own *Error
	switch {
	case errors.As(err, &own):
		return false, own
	case errors.As(context.Cause(ctx), &own): // the watcher's
		return false, own
	case err == errPool:
		return false, nil
	case err != io.EOF:
		return false, classify(s.name, err)
	case e.size >= 0 && e.offset < e.size && e.offset > begin && e.offset == a.last+1:
		return false, nil // no more was asked for, or promised
	case e.size >= 0 && e.offset < e.size:
		return false, newError(transient, "short", io.ErrUnexpectedEOF, "%s: the body ended early", s.name)
	}
	fault = e.verdict(s, a)
	return fault == nil, fault
}

// keep writes and verifies the next bytes.
func (e *engine) keep(s *source, p []byte) error {
	if e.size >= 0 && e.offset+int64(len(p)) > e.size && e.mixed && !e.pure {
		return e.purify(s, fmt.Errorf("more than the %d bytes of the image came", e.size))
	}
	if e.size >= 0 && e.offset+int64(len(p)) > e.size {
		return newError(mirror, "mismatch", nil, "%s: sends more than the %d bytes of the image", s.name, e.size)
	}
	if err := e.room.grow(e.offset + int64(len(p))); err != nil {
		return err
	}
	// Written first, then hashed: measured a third cheaper than the other order or both at once. Bytes that turn out
	// wrong are on the store for a moment; they are beyond e.offset, so they are written over, cut off, or dropped
	// with the store.
	if _, err := e.room.file.WriteAt(p, e.offset); err != nil {
		return storeError(err)
	}
	n, verr := e.verify.Write(p)
	e.offset += int64(n)
	if verr != nil {
		return e.mismatch(s, verr)
	}
	return nil
}

// verdict asks the verifier about the whole image.
func (e *engine) verdict(s *source, a answer) *Error {
	switch {
	case e.offset > 0:
	case a.framed:
		return newError(mirror, "short", nil, "%s: its image is empty", s.name)
	default:
		return newError(transient, "short", io.ErrUnexpectedEOF, "%s: closed the connection before the first byte", s.name)
	}
	err := e.verify.Close()
	switch {
	case err == nil:
		if !a.framed && e.size < 0 && !e.req.trusting() {
			e.req.Log.Warn(fmt.Sprintf("%s: %s sent no length, and nothing vouches for these %d bytes being all", e.req.What, s.name, e.offset))
		}
		return nil
	case !a.framed && e.size < 0 && s.mismatch != e.offset:
		// Cut off or wrong: the next answer tells, since it is asked for what comes after.
		s.mismatch = e.offset
		return newError(transient, "short", err, "%s: the body has no length and ended after %d bytes, which do not verify: %v", s.name, e.offset, err)
	case e.mixed && !e.pure:
		return e.purify(s, err)
	}
	fault := e.mismatch(s, err)
	e.restart(s, err.Error())
	return fault
}

// purify starts over after a mixture was wrong, from one mirror alone: that tells which is.
func (e *engine) purify(s *source, err error) *Error {
	e.pure = true
	e.restart(s, fmt.Sprintf("the parts received do not make up the image (%v)", err))
	return newError(transient, "mismatch", err, "%s: %v, after a resume; one mirror alone will tell which is wrong", s.name, err)
}

// mismatch blames a mirror for wrong bytes. A verifier may know a better class.
func (e *engine) mismatch(s *source, err error) *Error {
	class := "mismatch"
	var own interface{ Class() string }
	if errors.As(err, &own) {
		class = own.Class()
	}
	return newError(mirror, class, err, "%s serves a wrong %s: %v (%s)", s.name, e.req.What, err, s.location)
}

// tick is how often a download is looked at.
func (e *engine) tick() time.Duration { return min(100*time.Millisecond, e.req.Floor.Window/4) }

// watch reports progress and cuts the body when it stays below the floor. The function it returns ends it and waits.
func (e *engine) watch(cancel context.CancelCauseFunc, s *source, f *flow, begin int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(e.tick())
		defer tick.Stop()
		limit := e.req.Floor
		limit.Window = s.allow(limit.Window)
		floor := newFloorGauge(limit, time.Now())
		last, lastAt := int64(0), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				got := f.received.Load()
				e.meter.add(got-last+e.brought(), now.Sub(lastAt))
				last, lastAt = got, now
				if got > 0 && limit != e.req.Floor {
					limit = e.req.Floor // the long time was for the first byte
					floor = newFloorGauge(limit, now)
				}
				e.report(e.progress(begin+got, got, s))
				e.divide(now, begin+got, got, s, f.starved.Load())
				if rate, stalled := floor.add(now, got, f.starved.Load()); stalled {
					cancel(newError(transient, "stalled", nil, "%s: stalled: %s over %v, the floor is %s", s.name,
						rateString(rate), limit.Window, rateString(limit.rate())))
					return
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

// progress tells how far the download is; under is how many bytes of the body that s is sending came so far, and s is
// nil where none was asked.
func (e *engine) progress(bytes, under int64, s *source) Progress {
	bytes += e.pool.stored(bytes)
	p := Progress{What: e.req.What, Bytes: bytes, Total: e.size, Rate: e.meter.value(), ETA: -1, Retries: e.stats.Retries,
		Elapsed: time.Since(e.start), Mirrors: make([]Mirror, len(e.sources))}
	if s != nil {
		p.Mirror = s.name
	}
	if p.Total >= 0 {
		p.ETA = eta(p.Total-bytes, p.Rate)
	}
	for i, m := range e.sources {
		if p.Mirrors[i] = m.state(); m == s {
			p.Mirrors[i].Bytes += under
		}
	}
	return p
}

func (e *engine) report(p Progress) {
	if e.req.Progress != nil {
		e.req.Progress(p)
	}
}
