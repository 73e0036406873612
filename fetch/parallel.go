package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/internal/segments"
	"netstage/fetch/pace"
	"netstage/fetch/verify"
	"netstage/stage1/fault"
)

// streams are those besides the engine's own.
type streams struct {
	pool  *segments.Pool // nil where there can't be any
	tuner pace.Tuner
	seen  int64 // what they had brought when that was last asked
}

// brought is what they received since it was last asked.
func (s *streams) brought() int64 {
	before := s.seen
	s.seen = s.pool.Received()
	return s.seen - before
}

// errSegment is the end of a body where another stream has what follows.
var errSegment = errors.New("the next segment is there")

// upTo is a body, from byte at of the image on, that ends where the segments of
// other streams begin.
func (s *streams) upTo(body io.Reader, at int64) io.Reader {
	if s.pool == nil {
		return body
	}
	return &upToSegment{Reader: body, pool: s.pool, at: at}
}

type upToSegment struct {
	io.Reader
	pool *segments.Pool
	at   int64 // of its next byte in the image
}

func (u *upToSegment) Read(p []byte) (int, error) {
	mine := u.pool.Claim(u.at, int64(len(p)))
	if mine == 0 {
		return 0, errSegment
	}
	n, err := u.Reader.Read(p[:mine])
	u.at += int64(n)
	return n, err
}

// dividable tells whether several streams may be used after such an answer: the
// size is known and reserved, the server has ranges, and segments of different
// versions would be noticed.
func (e *engine) dividable(resp *http.Response, a mirror.Answer) bool {
	ranges := a.Part || resp.Header.Get("Accept-Ranges") == "bytes"
	i := e.image
	return e.req.Parallel.Streams > 1 && ranges && i.size > 0 && i.room.size >= i.size && !i.single &&
		(i.vouched || i.version.IfRange() != "")
}

// openStreams makes it possible to have several. There are none yet.
func (e *engine) openStreams(life context.Context) {
	if e.streams.pool != nil {
		return
	}
	c := segments.Config{
		Requester: e.ask, Mirrors: e.mirrors, File: e.image.room.file, Size: e.image.size, Trusted: e.image.pinned > 0,
		Grain: verify.Grain(e.image.verify), Seed: e.req.Seed,
		Backoff: e.req.Backoff, LowSpeed: e.req.LowSpeed, Parallel: e.req.Parallel,
	}
	if !e.image.vouched {
		c.Version = e.image.version
	}
	e.streams.pool = segments.New(life, c)
}

// closeStreams ends them and forgets what they brought.
func (e *engine) closeStreams() {
	pool := e.streams.pool
	if pool == nil {
		return
	}
	pool.Close()
	e.noteLost()
	e.history.stats.Received += pool.Received()
	e.history.stats.Requests += pool.Requests()
	e.streams.pool, e.streams.seen = nil, 0
}

// divide is called again and again while m sends its got-th byte, at byte at of
// the image, and decides on more streams.
func (e *engine) divide(now time.Time, at, got int64, m *mirror.Mirror, starved bool) {
	if e.streams.pool == nil {
		return
	}
	e.streams.pool.Watch(now)
	e.measure(now, e.history.stats.Received+got, at, starved)
	e.streams.pool.Resize(e.streams.tuner.Streams()-1, at, m, e.streams.tuner.Each())
}

// measure asks the tuner and tells what it says. Received is what the engine's
// own streams brought.
func (e *engine) measure(now time.Time, received, at int64, starved bool) {
	left := e.image.size - at - e.streams.pool.Stored(at)
	t := e.streams.tuner.Add(now, received+e.streams.pool.Received(), left, starved)
	if t == nil {
		return
	}
	text := fmt.Sprintf("%d streams bring %s where %d brought %s", t.Streams, pace.RateString(t.Rate), t.Streams/2, pace.RateString(t.Half))
	if t.Kept {
		e.req.Log.Info(text)
	} else {
		e.req.Log.Debug(text + ": back to those")
	}
}

// verifySegments verifies what other streams put into the store, in order and
// as it arrives, for as long as they bring what comes next. The engine's own
// stream has ended: a worker takes its place. When a fault is returned, it is m
// who is to blame.
func (e *engine) verifySegments(ctx context.Context) (m *mirror.Mirror, whole bool, err *mirror.Fault) {
	pool, tuner, image := e.streams.pool, &e.streams.tuner, e.image
	tick := time.NewTicker(e.tick())
	defer tick.Stop()
	buf := <-e.ring.free
	defer func() { e.ring.free <- buf }()
	last := time.Now()
	tuner.Pause()
	for image.offset < image.size {
		e.noteLost()
		s, more := pool.Ready(image.offset)
		before := image.offset
		if s.Have > before {
			if err := image.verifyStored(s.From, s.Sure, buf[:min(int64(len(buf)), s.Have-before)]); err != nil {
				pool.Drop(s.From)
				return s.From, false, err
			}
		}
		switch {
		case image.offset > before:
			continue
		case s.Have > image.offset && !more:
			return s.From, false, mirror.NewFault(mirror.Fatal, fault.Internal, nil,
				"verifying stopped at byte %d of a segment that ends at %d: a fault of this program", image.offset, s.Have)
		case !more:
			if tuner.Streams() > 1 {
				tuner.Again()
			}
			return nil, false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, nil
		case <-pool.News():
		case now := <-tick.C:
			e.history.meter.Add(e.streams.brought(), now.Sub(last))
			last = now
			e.report(image.offset, 0, s.From)
			pool.Watch(now)
			e.measure(now, e.history.stats.Received, image.offset, false)
		}
		n := tuner.Streams()
		if n == 1 {
			n = 0 // the engine's own
		}
		pool.Resize(n, image.offset, nil, tuner.Each())
	}
	e.noteLost()
	m = image.from
	err = image.checkWhole(m, true)
	return m, err == nil, err
}

// noteLost notes the faults of other streams. They condemn no mirror: the
// engine's own stream does, when it gets there.
func (e *engine) noteLost() {
	if e.streams.pool == nil {
		return
	}
	for _, l := range e.streams.pool.Lost() {
		e.history.survived(l.Fault)
		l.From.Note(l.Fault)
		e.image.mixed = e.image.mixed || l.Fault.Class == fault.Changed
		e.req.Log.Warn(l.Fault.Text+", on one of several streams", "err", l.Fault)
	}
}
