package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errPool is the end of a body where the pool has what follows.
var errPool = errors.New("the next segment is there")

// upToPool is a body that ends where the pool begins.
type upToPool struct {
	io.Reader
	pool *pool
	at   int64 // of its next byte in the image
}

func (u *upToPool) Read(p []byte) (int, error) {
	mine := u.pool.claim(u.at, int64(len(p)))
	if mine == 0 {
		return 0, errPool
	}
	n, err := u.Reader.Read(p[:mine])
	u.at += int64(n)
	return n, err
}

// dividable tells whether several streams may be used after such an answer: the size is known and reserved, the server
// has ranges, and segments of different versions would be noticed.
func (e *engine) dividable(resp *http.Response, a answer) bool {
	ranges := a.part || resp.Header.Get("Accept-Ranges") == "bytes"
	return e.req.Parallel.Streams > 1 && ranges && e.size > 0 && e.room.size >= e.size && !e.pure &&
		(e.req.vouched() || e.version.ifRange() != "")
}

// divide is called again and again while s sends its got-th byte, at byte at of the image, and decides on more streams.
func (e *engine) divide(now time.Time, at, got int64, s *source, starved bool) {
	if e.pool == nil {
		return
	}
	e.pool.watch(now)
	e.measure(now, e.stats.Received+got, at, starved)
	e.pool.resize(e.scale.streams-1, at, s, e.scale.each)
}

// measure asks the scale and tells what it says. Received is what the engine's own streams brought.
func (e *engine) measure(now time.Time, received, at int64, starved bool) {
	left := e.size - at - e.pool.stored(at)
	v := e.scale.add(now, received+e.pool.received.Load(), left, starved)
	switch {
	case v == nil:
	case v.kept:
		e.req.Log.Info(fmt.Sprintf("%s: %d streams bring %s where %d brought %s", e.req.What, v.streams, rateString(v.rate), v.streams/2, rateString(v.half)))
	default:
		e.req.Log.Debug(fmt.Sprintf("%s: %d streams bring %s where %d brought %s: back to those", e.req.What, v.streams, rateString(v.rate), v.streams/2, rateString(v.half)))
	}
}

// brought is what the pool received since it was last asked.
func (e *engine) brought() int64 {
	if e.pool == nil {
		return 0
	}
	before := e.ahead
	e.ahead = e.pool.received.Load()
	return e.ahead - before
}

// follow verifies what the pool puts into the store, in order and as it arrives, for as long as it brings what comes
// next. The engine's own stream has ended: a worker takes its place. When a fault is returned, it is s who is to blame.
func (e *engine) follow(ctx context.Context) (s *source, whole bool, fault *Error) {
	tick := time.NewTicker(e.tick())
	defer tick.Stop()
	buf := <-e.ring.free
	defer func() { e.ring.free <- buf }()
	last := time.Now()
	e.scale.pause()
	for e.offset < e.size {
		e.admit()
		p, more := e.pool.ready(e.offset)
		before := e.offset
		if p.have > e.offset {
			if err := e.verifyStored(p, buf); err != nil {
				e.pool.drop(p.from)
				return p.from, false, err
			}
		}
		switch {
		case e.offset > before:
			continue
		case p.have > e.offset && !more:
			return p.from, false, newError(fatal, "internal", nil, "verifying stopped at byte %d of a segment that ends at %d: a fault of this program", e.offset, p.have)
		case !more:
			if e.scale.streams > 1 {
				e.scale.again()
			}
			return nil, false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, nil
		case <-e.pool.news:
		case now := <-tick.C:
			e.meter.add(e.brought(), now.Sub(last))
			last = now
			e.report(e.progress(e.offset, 0, p.from))
			e.pool.watch(now)
			e.measure(now, e.stats.Received, e.offset, false)
		}
		n := e.scale.streams
		if n == 1 {
			n = 0 // the engine's own
		}
		e.pool.resize(n, e.offset, nil, e.scale.each)
	}
	e.admit()
	s = e.from
	fault = e.verdict(s, answer{framed: true})
	return s, fault == nil, fault
}

// verifyStored verifies the next bytes of a segment that is in the store.
func (e *engine) verifyStored(p segment, buf []byte) *Error {
	buf = buf[:min(int64(len(buf)), p.have-e.offset)]
	if _, err := e.room.file.ReadAt(buf, e.offset); err != nil {
		return storeError(err)
	}
	e.mixed = e.mixed || e.from != p.from || !p.sure
	e.from = p.from
	n, err := e.verify.Write(buf)
	e.offset += int64(n)
	if err != nil {
		return e.mismatch(p.from, err)
	}
	return nil
}

// admit notes the faults of the pool's streams. They condemn no mirror: the engine's own stream does, when it gets there.
func (e *engine) admit() {
	if e.pool == nil {
		return
	}
	for _, l := range e.pool.lost() {
		e.stats.Retries++
		e.tried.add(time.Since(e.start), l.err.text)
		l.from.faults++
		l.from.answer, l.from.class = l.err.text, l.err.class
		e.mixed = e.mixed || l.err.class == "changed"
		e.req.Log.Warn(e.req.What + ": " + l.err.text + ", on one of several streams")
	}
}

// closePool ends the pool and forgets what it brought.
func (e *engine) closePool() {
	if e.pool == nil {
		return
	}
	e.pool.close()
	e.admit()
	e.stats.Received += e.pool.received.Load()
	e.stats.Requests += int(e.pool.requests.Load())
	e.pool, e.ahead = nil, 0
}
