package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// copyBody copies a body to the store, verifying, up to where segments that
// other streams bring begin.
func (e *engine) copyBody(ctx context.Context, cancel context.CancelCauseFunc, m *mirror.Mirror, body io.Reader, a mirror.Answer) (whole bool, fails *mirror.Fault) {
	var f flow
	image, begin := e.image, e.image.offset
	stopWatch := e.watch(cancel, m, &f, begin)
	err := e.ring.pump(e.streams.upTo(body, begin), &f, func() { cancel(nil) }, func(p []byte) error { return image.write(m, p) })
	stopWatch()
	e.noteLost()
	e.history.stats.Received += f.received.Load()
	m.Brought(f.received.Load(), image.offset-begin)
	var own *mirror.Fault
	switch {
	case errors.As(err, &own):
		return false, own
	case errors.As(context.Cause(ctx), &own): // the watcher's
		return false, own
	case err == errSegment:
		return false, nil
	case err != io.EOF:
		return false, mirror.Classify(m.Name, err)
	case image.size >= 0 && image.offset < image.size && image.offset > begin && image.offset == a.Last+1:
		return false, nil // no more was asked for, or promised
	case image.size >= 0 && image.offset < image.size:
		return false, mirror.NewFault(mirror.Transient, fault.Short, io.ErrUnexpectedEOF, "%s: the body ended early", m.Name)
	}
	own = image.checkWhole(m, a.Framed)
	return own == nil, own
}

// tick is how often a download is looked at.
func (e *engine) tick() time.Duration { return min(100*time.Millisecond, e.req.LowSpeed.Window/4) }

// watch reports progress and cuts the body when it stays below the low-speed
// limit. The function it returns ends it and waits.
func (e *engine) watch(cancel context.CancelCauseFunc, m *mirror.Mirror, f *flow, begin int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(e.tick())
		defer tick.Stop()
		limit := e.req.LowSpeed
		limit.Window = m.Allow(limit.Window)
		gauge := pace.NewGauge(limit, time.Now())
		last, lastAt := int64(0), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				got := f.received.Load()
				e.history.meter.Add(got-last+e.streams.brought(), now.Sub(lastAt))
				last, lastAt = got, now
				if got > 0 && limit != e.req.LowSpeed {
					limit = e.req.LowSpeed // the long time was for the first byte
					gauge = pace.NewGauge(limit, now)
				}
				e.report(begin+got, got, m)
				e.divide(now, begin+got, got, m, f.starved.Load())
				if rate, stalled := gauge.Add(now, got, f.starved.Load()); stalled {
					cancel(mirror.NewFault(mirror.Transient, fault.Stalled, nil, "%s: stalled: %s over %v, the floor is %s", m.Name,
						pace.RateString(rate), limit.Window, pace.RateString(limit.Rate())))
					return
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}
