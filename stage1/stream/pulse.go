package stream

import (
	"time"
)

// silence is how long a worker may give no sign of life: one that was stopped,
// or hangs, is as good as dead, and another one takes its place.
const silence = time.Minute

// pulse is what the holder knows of its worker's life.
type pulse struct {
	limit time.Duration // silence, but for tests
	beat  uint64        // the last sign
	heard time.Time     // when that was seen
	took  time.Time     // when it was last looked
	still time.Duration // without a sign, as the holder itself has lived
	ended bool          // it was ended for that
}

// begins is for a new worker.
func (p *pulse) begins(now time.Time, beat uint64) {
	*p = pulse{limit: p.limit, beat: beat, heard: now, took: now}
}

// silent looks for a sign, and tells once when there has been none for too long.
// While the holder does not run either, as where the whole machine is held up,
// nothing is missed.
func (p *pulse) silent(now time.Time, beat uint64) bool {
	since := min(now.Sub(p.took), 2*lookEvery)
	p.took = now
	if beat != p.beat {
		p.beat, p.heard, p.still = beat, now, 0
		return false
	}
	p.still += since
	if p.still < p.limit || p.ended {
		return false
	}
	p.ended = true
	return true
}

// died is when a worker that has ended now was last alive.
func (p *pulse) died(now time.Time) time.Time {
	if p.ended {
		return p.heard
	}
	return now
}
