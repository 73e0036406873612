package fetch

import "time"

// Parallel says when an image comes over several connections at once: only while that is measurably faster than fewer
// are, as where loss or the network itself limits every one of them. Whoever shares a link with others gains nothing by
// it, and after a second try it stays at that.
type Parallel struct {
	Streams int           // at most; default 4; 1: never more than one
	Gain    float64       // how many times as fast twice the streams must be, to stay; default 1.25
	Measure time.Duration // how long a rate is measured; default 2 s
}

func (p Parallel) withDefaults() Parallel {
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

// worthwhile is how many measurements the rest of an image must last for another trial.
const worthwhile = 4

// mostMisses is how many trials may bring too little before there are no more: where packets are lost, rates vary.
const mostMisses = 2

// mostEnds is how often several streams may all go wrong before no more are tried.
const mostEnds = 3

// scale decides how many streams there are: it doubles them, and goes back when that brought too little.
type scale struct {
	Parallel
	streams int     // wanted
	before  float64 // bytes per second of half as many; 0: these are no trial
	each    float64 // bytes per second of one stream, when it was last measured
	settled bool
	misses  int       // fruitless trials
	ends    int       // how often all streams went
	since   time.Time // of the measurement; zero: it has not begun
	bytes   int64     // that had come by then
	settle  time.Time // until then the measurement begins anew
}

func newScale(p Parallel) scale { return scale{Parallel: p, streams: 1, settled: p.Streams < 2} }

// verdict is what a measurement said, for the log.
type verdict struct {
	streams    int // that were measured
	rate, half float64
	kept       bool
}

// add notes how many bytes have come in all, and that left are to come. Where the writer is what the download waits
// for, no number of streams helps and nothing is measured. It returns a verdict when a trial ends.
func (s *scale) add(now time.Time, bytes, left int64, starved bool) *verdict {
	if s.settled {
		return nil
	}
	switch {
	case s.since.IsZero() || starved || bytes < s.bytes || now.Before(s.settle):
		s.since, s.bytes = now, bytes
		return nil
	}
	span := now.Sub(s.since)
	if span < s.Measure {
		return nil
	}
	rate := float64(bytes-s.bytes) / span.Seconds()
	s.since = time.Time{}
	s.each = rate / float64(s.streams)
	var v *verdict
	if s.before > 0 {
		v = &verdict{streams: s.streams, rate: rate, half: s.before, kept: rate >= s.Gain*s.before}
		if !v.kept {
			s.streams, s.before = s.streams/2, 0
			s.misses++
			s.settled = s.misses == mostMisses
			return v
		}
	}
	s.before = 0
	switch {
	case 2*s.streams > s.Streams:
		s.settled = true
	case rate > 0 && float64(left) >= worthwhile*s.Measure.Seconds()*rate:
		s.streams, s.before = 2*s.streams, rate
		s.since, s.bytes = now, bytes
		s.settle = now.Add(s.Measure / 2) // new streams take a while to find their rate
	}
	return v
}

// pause begins the measurement anew: who brings what has changed.
func (s *scale) pause() { s.since = time.Time{} }

// again is for when the streams have all gone: from one stream on, though not for ever.
func (s *scale) again() {
	s.ends++
	s.streams, s.before, s.since, s.settled = 1, 0, time.Time{}, s.ends >= mostEnds
}
