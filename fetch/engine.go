package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// engine is one download under way. All of it belongs to the goroutine of Get;
// what others touch is atomic.
type engine struct {
	req     Request
	ask     *mirror.Requester
	mirrors []*mirror.Mirror
	rng     *rand.Rand
	ring    *ring
	image   *partial
	streams streams
	history history
}

func newEngine(req Request) (*engine, *mirror.Fault) {
	req = req.withDefaults()
	mirrors, err := req.mirrors()
	if err != nil {
		return nil, err
	}
	image, err := newPartial(req)
	if err != nil {
		return nil, err
	}
	ring, failed := newRing()
	if failed != nil {
		return nil, mirror.NewFault(mirror.Fatal, fault.NoMemory, failed, "image: %v", failed)
	}
	return &engine{
		req: req, mirrors: mirrors, image: image, ring: ring,
		ask:     mirror.NewRequester(req.config()),
		rng:     pace.NewRand(req.Seed),
		streams: streams{tuner: pace.NewTuner(req.Parallel)},
		history: history{start: time.Now()},
	}, nil
}

// close ends everything that the download started.
func (e *engine) close() error {
	e.closeStreams()
	e.ask.Close(e.mirrors)
	return e.ring.Close()
}

// run asks one mirror after the other until the image is whole, none is left,
// or ctx ends.
func (e *engine) run(ctx context.Context) (*Image, error) {
	for {
		m, whole, err := e.further(ctx)
		if e.image.over != "" {
			e.restart(m, e.image.over)
		}
		switch {
		case whole:
			return e.finish(m)
		case ctx.Err() != nil:
			return nil, e.interrupted(ctx)
		case err == nil:
			continue
		case m == nil:
			return nil, e.final(err)
		}
		e.record(m, err)
		if err.Scope == mirror.Fatal {
			return nil, e.final(err)
		}
	}
}

// further gets what comes next: from several streams where they have it, else
// from a mirror. It returns whose it was; nil where there is none to ask.
func (e *engine) further(ctx context.Context) (m *mirror.Mirror, whole bool, err *mirror.Fault) {
	if e.streams.pool.Has(e.image.offset) {
		return e.verifySegments(ctx)
	}
	m = mirror.Next(e.mirrors, time.Now())
	if m == nil {
		return nil, false, mirror.Exhausted(e.mirrors)
	}
	if !wait(ctx, m) {
		return m, false, nil
	}
	whole, err = e.attempt(ctx, m)
	return m, whole, err
}

// wait sleeps until m may be asked, or ctx ends; that is false.
func wait(ctx context.Context, m *mirror.Mirror) bool {
	t := time.NewTimer(time.Until(m.Ready()))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}

// record notes what a fault means for its mirror, and tells.
func (e *engine) record(m *mirror.Mirror, err *mirror.Fault) {
	e.history.fault(err)
	m.Failed(err, e.req.Backoff, e.rng)
	text := err.Text
	if e.image.offset > 0 {
		text += " (" + e.image.position() + " done)"
	}
	switch n := mirror.Next(e.mirrors, time.Now()); {
	case err.Scope == mirror.Fatal || n == nil:
	case n != m:
		text += ", next try from " + n.Name
	default:
		text += fmt.Sprintf(", next try in %.1f s", max(0, time.Until(n.Ready())).Seconds())
	}
	e.req.Log.Warn(text, "mirror", m.Name, "class", err.Class, "err", err)
	e.report(e.image.offset, 0, m)
}

// interrupted is the error when ctx ended: what went wrong last is its cause
// and gives it its class.
func (e *engine) interrupted(ctx context.Context) *Error {
	class, text, cause := fault.Cancelled, "the download was cancelled", ctx.Err()
	if errors.Is(cause, context.DeadlineExceeded) {
		class, text = fault.Timeout, "the download took too long"
	}
	if last := e.history.last; last != nil {
		class, text, cause = last.Class, last.Text, errors.Join(cause, last)
	}
	if e.image.offset > 0 {
		text += " (" + e.image.position() + " done)"
	}
	return e.final(mirror.NewFault(mirror.Transient, class, cause, "no image after %d requests in %.0f s: %s",
		e.history.stats.Requests, time.Since(e.history.start).Seconds(), text))
}

// final is what the caller hears of.
func (e *engine) final(err *mirror.Fault) *Error {
	err.Tried = e.history.tried.list()
	return &Error{fault: err, state: e.progress(e.image.offset, 0, e.image.from)}
}

// restart throws away what was received: the next byte is the image's first.
func (e *engine) restart(m *mirror.Mirror, why string) {
	if e.image.offset > 0 {
		e.history.stats.Restarts++
		e.req.Log.With("mirror", m.Name).Warn("starting over at " + e.image.position() + ": " + why)
	}
	e.closeStreams()
	e.image.forget()
}

// finish hands the verified image over.
func (e *engine) finish(m *mirror.Mirror) (*Image, error) {
	e.closeStreams()
	size := e.image.offset
	f, path, err := e.req.Store.Commit(size)
	if err != nil {
		return nil, e.final(mirror.StoreFault(err))
	}
	e.history.stats.Duration = time.Since(e.history.start)
	image := &Image{File: f, Path: path, Size: size, Source: m.Location.String(), Stats: e.history.stats, store: e.req.Store}
	by := "not verified: nothing vouches for it"
	if e.image.sum != nil {
		image.SHA256 = e.image.sum.Sum()
		by = fmt.Sprintf("not verified: nothing vouches for sha256 %x", image.SHA256)
	}
	switch {
	case e.req.vouched() && !e.req.Untrusted:
		by = "verified"
	case e.req.Checked:
		by = "not verified yet"
	}
	e.report(size, 0, m)
	took := e.history.stats.Duration.Seconds()
	level := slog.LevelWarn
	if e.req.trusting() {
		level = slog.LevelInfo
	}
	e.req.Log.Log(context.Background(), level, fmt.Sprintf("%d MiB from %s in %.1f s, %s, %s", mib(size), m.Name, took,
		pace.RateString(float64(size)/max(took, 1e-3)), by), "mirror", m.Name)
	return image, nil
}

// progress tells how far the download is; under is how many bytes of the body
// that m is sending came so far, and m is nil where none was asked.
func (e *engine) progress(bytes, under int64, m *mirror.Mirror) Progress {
	bytes += e.streams.pool.Stored(bytes)
	p := Progress{What: e.req.What, Bytes: bytes, Total: e.image.size, Rate: e.history.meter.Value(), ETA: -1, Retries: e.history.stats.Retries,
		Elapsed: time.Since(e.history.start), Mirrors: make([]Mirror, len(e.mirrors))}
	if m != nil {
		p.Mirror = m.Name
	}
	if p.Total >= 0 {
		p.ETA = pace.ETA(p.Total-bytes, p.Rate)
	}
	for i, other := range e.mirrors {
		if p.Mirrors[i] = other.State(); other == m {
			p.Mirrors[i].Bytes += under
		}
	}
	return p
}

func (e *engine) report(bytes, under int64, m *mirror.Mirror) {
	if e.req.Progress != nil {
		e.req.Progress(e.progress(bytes, under, m))
	}
}
