package stream

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"netstage/fetch/pace"
	"netstage/fetch/verity"
)

// A body is read in pieces, each verified and kept at once, so that whoever
// waits for its first block does not wait for the last.
const piece = 64 << 10

// anotherImage is how many wrong blocks in a row there are only in another
// image, of which no more is asked for.
const anotherImage = 16

// getter is one stream of bytes at a time.
type getter struct {
	store    *Store
	mirrors  *mirrors
	check    *verity.Blocks
	buf      []byte
	changed  func()                         // blocks have come
	yield    func(ctx context.Context) bool // lets others go first, and tells whether there were any; may be nil
	stall    func(mirror int) time.Duration
	lowSpeed pace.LowSpeedLimit
	total    *atomic.Int64 // bytes received by all
}

// once asks one mirror for a span of whole blocks. What it brought is kept
// whatever the error; one that names a wrong block comes after all the others
// were kept.
func (g *getter) once(ctx context.Context, mirror int, span Span) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun, got := time.Now(), int64(0)
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		g.mirrors.delivered(mirror, got, time.Since(begun))
	}()
	body, err := g.mirrors.Get(ctx, mirror, span.Off, span.end()-1)
	if err != nil {
		return err
	}
	defer body.Close()
	limit := g.mirrors.Patience(mirror, g.stall(mirror))
	stalled := time.AfterFunc(limit, func() {
		if g.mirrors.Patience(mirror, g.stall(mirror)) == limit { // no other has told it
			g.mirrors.Late(mirror, true)
		}
		cancel(fmt.Errorf("%s: stalled: nothing came for %v", g.mirrors.Name(mirror), limit))
	})
	defer stalled.Stop()
	asked := time.Now()
	gauge, longest := pace.NewGauge(g.lowSpeed, asked), asked.Sub(begun) // wait for anything
	var wrong error
	have, inRow := 0, int64(0) // wrong blocks
	for at := span.Off; at < span.end(); {
		yielded := false
		if g.yield != nil {
			stalled.Stop()
			yielded = g.yield(ctx)
			stalled.Reset(limit)
		}
		asked = time.Now()
		n, err := body.Read(g.buf[have:min(int64(len(g.buf)), span.end()-at)])
		now := time.Now()
		longest = max(longest, now.Sub(asked))
		if err != nil && err != io.EOF {
			err = fmt.Errorf("%s: the body broke off: %w", g.mirrors.Name(mirror), err)
		}
		have += n
		got += int64(n)
		g.total.Add(int64(n))
		if n > 0 {
			stalled.Reset(limit)
		}
		rate, slow := gauge.Add(now, got, yielded)
		if whole := int64(have) / g.store.blockSize() * g.store.blockSize(); whole > 0 {
			right, perr := g.store.put(g.check, at, g.buf[:whole])
			if perr != nil {
				if _, ok := perr.(*WrongBlockError); !ok {
					return perr
				}
				if wrong == nil {
					wrong = fmt.Errorf("%s serves a wrong image: %w", g.mirrors.Name(mirror), perr)
				}
			}
			g.changed()
			if inRow += whole / g.store.blockSize(); right > 0 {
				inRow = 0
			}
			if inRow >= anotherImage {
				return wrong
			}
			have = copy(g.buf, g.buf[whole:have])
			at += whole
		}
		if err == io.EOF && at < span.end() {
			err = fmt.Errorf("%s: the body ended early: %w", g.mirrors.Name(mirror), io.ErrUnexpectedEOF)
		}
		if err == nil && slow && at < span.end() {
			err = fmt.Errorf("%s: stalled: %.0f kB/s over %v, less than the limit of %.0f kB/s", g.mirrors.Name(mirror), rate/1e3, g.lowSpeed.Window, g.lowSpeed.Rate()/1e3)
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	if longest < quick {
		g.mirrors.Late(mirror, false)
	}
	return wrong
}

// until asks one mirror after the other until all of a span is there, or ctx
// ends.
func (g *getter) until(ctx context.Context, span Span) {
	avoid := -1
	for ctx.Err() == nil && !g.store.has(span) {
		now := time.Now()
		mirror, wait := g.mirrors.pick(now, avoid)
		if wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(wait, time.Second)):
			}
			avoid = -1
			continue
		}
		first, last := g.store.Map.Missing(g.store.blocks(span))
		size := g.store.blockSize()
		avoid = -1
		if err := g.once(ctx, mirror, Span{first * size, (last - first) * size}); err != nil && ctx.Err() == nil {
			g.mirrors.failed(time.Now(), mirror, err)
			avoid = mirror
		}
	}
}
