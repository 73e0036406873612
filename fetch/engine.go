package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// engine is one download under way. All of it belongs to the goroutine of Get; what others touch is atomic.
type engine struct {
	req     Request
	ask     *requester
	sources []*source
	rng     *rand.Rand
	ring    *ring
	verify  Verifier
	sum     *digest // nil: not computed

	room   *room // where the image goes
	size   int64 // of the image; -1: not known
	offset int64 // verified and written so far; a retry resumes here

	from    *source   // the mirror that sent the bytes so far
	version validator // of those bytes
	mixed   bool      // they come from several mirrors, or from versions that nothing tells apart
	pure    bool      // never mix again: it went wrong once

	pool  *pool // fetches ahead; nil where there can't be one
	scale scale
	ahead int64 // what the pool had brought when it was last looked at

	meter meter
	start time.Time
	stats Stats
	tried attempts
	last  *Error
}

func newEngine(req Request) (*engine, error) {
	req = req.withDefaults()
	e := &engine{req: req, rng: newRand(req.Seed), room: newRoom(req), start: time.Now()}
	sources, fault := newSources(req.Mirrors, req.Proxy)
	if fault != nil {
		return nil, fault
	}
	e.sources = sources
	if req.SHA256 != nil && len(req.SHA256) != 32 {
		return nil, newError(fatal, "mismatch", nil, "the expected SHA-256 has %d bytes, not 32", len(req.SHA256))
	}
	if req.SHA256 != nil || req.Digest {
		e.sum = newDigest(req.SHA256)
	}
	switch {
	case req.Verify != nil && e.sum != nil:
		e.verify = all{req.Verify, e.sum}
	case req.Verify != nil:
		e.verify = req.Verify
	case e.sum != nil:
		e.verify = e.sum
	default:
		e.verify = nothing{}
	}
	e.scale = newScale(req.Parallel)
	e.forget()
	ring, err := newRing()
	if err != nil {
		return nil, newError(fatal, "no-memory", err, "image: %v", err)
	}
	e.ring = ring
	e.ask = newRequester(req)
	return e, nil
}

// close ends everything that the download started.
func (e *engine) close() error {
	e.closePool()
	e.ask.close(e.sources)
	return e.ring.Close()
}

// run asks one mirror after the other until the image is whole, none is left, or ctx ends.
func (e *engine) run(ctx context.Context) (*Image, error) {
	for {
		s, whole, err := e.further(ctx)
		if whole {
			return e.finish(s)
		}
		if ctx.Err() != nil {
			return nil, e.interrupted(ctx)
		}
		if err == nil {
			continue
		}
		if s == nil {
			return nil, e.final(err)
		}
		e.record(s, err)
		if err.scope == fatal {
			return nil, e.final(err)
		}
	}
}

// further gets what comes next: from the pool where that has it, else from a
// mirror. It returns whose it was; nil where there is none to ask.
func (e *engine) further(ctx context.Context) (s *source, whole bool, fault *Error) {
	if e.pool.has(e.offset) {
		return e.follow(ctx)
	}
	s = next(e.sources, time.Now())
	if s == nil {
		return nil, false, exhausted(e.sources)
	}
	if !e.wait(ctx, s) {
		return s, false, nil
	}
	whole, fault = e.attempt(ctx, s)
	return s, whole, fault
}

// record notes what a failure means for its mirror.
func (e *engine) record(s *source, err *Error) {
	e.last = err
	e.tried.add(time.Since(e.start), err.text)
	e.stats.Retries++
	s.faults++
	s.answer, s.class = err.text, err.class
	e.meter = meter{}
	if !s.delivered && (err.class == "timeout" || err.class == "stalled") {
		s.waited++
	}
	switch {
	case err.scope == mirror:
		s.dead = err
	case err.scope == transient && s.delivered:
		s.ready = time.Now().Add(e.req.Backoff.resume(e.rng))
	case err.scope == transient:
		s.ready = time.Now().Add(e.req.Backoff.delay(e.rng, s.failures, err.retryAfter))
		s.failures++
	}
	if err.class == "bad-range" {
		s.noRanges = true
	}
	text := err.text
	if e.offset > 0 {
		text += " (" + e.position() + " done)"
	}
	switch n := next(e.sources, time.Now()); {
	case err.scope == fatal || n == nil:
	case n != s:
		text += ", next try from " + n.name
	default:
		text += fmt.Sprintf(", next try in %.1f s", max(0, time.Until(n.ready)).Seconds())
	}
	e.req.Log.Warn(e.req.What + ": " + text)
	e.report(e.progress(e.offset, 0, s))
}

// position is how far the download is: "352/1024 MiB".
func (e *engine) position() string {
	if e.size < 0 {
		return fmt.Sprintf("%d MiB", e.offset>>20)
	}
	return fmt.Sprintf("%d/%d MiB", e.offset>>20, mib(e.size))
}

// wait sleeps until s may be asked, or ctx ends; that is false.
func (e *engine) wait(ctx context.Context, s *source) bool {
	t := time.NewTimer(time.Until(s.ready))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}

// interrupted is the error when ctx ended: what went wrong last is its cause and gives it its class.
func (e *engine) interrupted(ctx context.Context) *Error {
	class, text, cause := "cancelled", "the download was cancelled", ctx.Err()
	if errors.Is(cause, context.DeadlineExceeded) {
		class, text = "timeout", "the download took too long"
	}
	if e.last != nil {
		class, text, cause = e.last.class, e.last.text, errors.Join(cause, e.last)
	}
	if e.offset > 0 {
		text += " (" + e.position() + " done)"
	}
	return e.final(newError(transient, class, cause, "no image after %d requests in %.0f s: %s", e.stats.Requests, time.Since(e.start).Seconds(), text))
}

func (e *engine) final(err *Error) *Error {
	err.tried, err.state = e.tried.list(), e.progress(e.offset, 0, e.from)
	return err
}

// restart throws away what was received: the next byte is the image's first.
func (e *engine) restart(s *source, why string) {
	if e.offset > 0 {
		e.stats.Restarts++
		e.req.Log.Warn(fmt.Sprintf("%s: %s: starting over at %s: %s", e.req.What, s.name, e.position(), why))
	}
	e.forget()
}

func (e *engine) forget() {
	e.closePool()
	e.verify.Reset()
	e.offset, e.from, e.version, e.mixed = 0, nil, validator{}, false
	e.size = -1
	if e.req.Size > 0 {
		e.size = e.req.Size
	}
}

// finish hands the verified image over.
func (e *engine) finish(s *source) (*Image, error) {
	e.closePool()
	f, path, err := e.req.Store.Commit(e.offset)
	if err != nil {
		return nil, e.final(storeError(err))
	}
	e.stats.Duration = time.Since(e.start)
	image := &Image{File: f, Path: path, Size: e.offset, Source: s.location.String(), Stats: e.stats, store: e.req.Store}
	by := "not verified: nothing vouches for it"
	if e.sum != nil {
		copy(image.SHA256[:], e.sum.hash.Sum(nil))
		by = fmt.Sprintf("not verified: nothing vouches for sha256 %x", image.SHA256)
	}
	switch {
	case e.req.vouched():
		by = "verified"
	case e.req.Checked:
		by = "not verified yet"
	}
	e.report(e.progress(e.offset, 0, s))
	text := fmt.Sprintf("%s: %d MiB from %s in %.1f s, %s, %s", e.req.What, mib(e.offset), s.name, e.stats.Duration.Seconds(),
		rateString(float64(e.offset)/max(e.stats.Duration.Seconds(), 1e-3)), by)
	if e.req.trusting() {
		e.req.Log.Info(text)
	} else {
		e.req.Log.Warn(text)
	}
	return image, nil
}
