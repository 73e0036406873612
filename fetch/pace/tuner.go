package pace

import "time"

// Parallel says when an image comes over several connections at once: only
// while that is measurably faster than fewer are, as where loss or the network
// itself limits every one of them. Whoever shares a link with others gains
// nothing by it, and after a second try it stays at that.
type Parallel struct {
	Streams int           // at most; default 4; 1: never more than one
	Gain    float64       // how many times as fast twice the streams must be, to stay; default 1.25
	Measure time.Duration // how long a rate is measured; default 2 s
}

// WithDefaults fills in what is not given.
func (p Parallel) WithDefaults() Parallel {
	if p.Streams <= 0 {
		p.Streams = 4
	}
	if p.Gain <= 0 {
		p.Gain = 1.25
	}
	if p.Measure <= 0 {
		p.Measure = 2 * time.Second
	}
	return p
}

// worthwhile is how many measurements the rest of an image must last for
// another trial.
const worthwhile = 4

// mostMisses is how many trials may bring too little before there are no more:
// where packets are lost, rates vary.
const mostMisses = 2

// mostEnds is how often several streams may all go wrong before no more are
// tried.
const mostEnds = 3

// Tuner decides how many streams there are: it doubles them, and goes back when
// that brought too little.
type Tuner struct {
	limits      Parallel
	streams     int       // wanted
	before      float64   // bytes per second of half as many; 0: these are no trial
	each        float64   // bytes per second of one stream, when it was last measured
	fixed       bool      // no more trials
	misses      int       // fruitless trials
	ends        int       // how often all streams went
	since       time.Time // of the measurement; zero: it has not begun
	bytes       int64     // that had come by then
	measureFrom time.Time // new streams have found their rate by then
}

// NewTuner begins with one stream.
func NewTuner(p Parallel) Tuner { return Tuner{limits: p, streams: 1, fixed: p.Streams < 2} }

// Streams is how many there should be.
func (t *Tuner) Streams() int { return t.streams }

// Each is the bytes per second of one stream, when it was last measured.
func (t *Tuner) Each() float64 { return t.each }

// Trial is what a measurement said of a number of streams, for the log.
type Trial struct {
	Streams    int // that were measured
	Rate, Half float64
	Kept       bool
}

// Add notes how many bytes have come in all, and that left are to come. Where
// the writer is what the download waits for, no number of streams helps and
// nothing is measured. It returns a trial when one ends.
func (t *Tuner) Add(now time.Time, bytes, left int64, starved bool) *Trial {
	if t.fixed {
		return nil
	}
	switch {
	case t.since.IsZero() || starved || bytes < t.bytes || now.Before(t.measureFrom):
		t.since, t.bytes = now, bytes
		return nil
	}
	span := now.Sub(t.since)
	if span < t.limits.Measure {
		return nil
	}
	rate := float64(bytes-t.bytes) / span.Seconds()
	t.since = time.Time{}
	t.each = rate / float64(t.streams)
	var trial *Trial
	if t.before > 0 {
		trial = &Trial{Streams: t.streams, Rate: rate, Half: t.before, Kept: rate >= t.limits.Gain*t.before}
		if !trial.Kept {
			t.streams, t.before = t.streams/2, 0
			t.misses++
			t.fixed = t.misses == mostMisses
			return trial
		}
	}
	t.before = 0
	switch {
	case 2*t.streams > t.limits.Streams:
		t.fixed = true
	case rate > 0 && float64(left) >= worthwhile*t.limits.Measure.Seconds()*rate:
		t.streams, t.before = 2*t.streams, rate
		t.since, t.bytes = now, bytes
		t.measureFrom = now.Add(t.limits.Measure / 2)
	}
	return trial
}

// Pause begins the measurement anew: who brings what has changed.
func (t *Tuner) Pause() { t.since = time.Time{} }

// Again is for when the streams have all gone: from one stream on, though not
// for ever.
func (t *Tuner) Again() {
	t.ends++
	t.streams, t.before, t.since, t.fixed = 1, 0, time.Time{}, t.ends >= mostEnds
}
