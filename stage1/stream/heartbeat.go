package stream

import "time"

// silence is how long a worker may give no sign of life: one that was stopped,
// or hangs, is as good as dead, and another one takes its place.
const silence = time.Minute

// heartbeat is what the holder knows of its worker's life.
type heartbeat struct {
	limit time.Duration // silence, but for tests
	beat  uint64        // the last sign
	heard time.Time     // when that was seen
	took  time.Time     // when it was last looked
	still time.Duration // without a sign, as the holder itself has lived
	ended bool          // it was ended for that
}

// begins is for a new worker.
func (h *heartbeat) begins(now time.Time, beat uint64) {
	*h = heartbeat{limit: h.limit, beat: beat, heard: now, took: now}
}

// silent looks for a sign, and tells once when there has been none for too
// long. While the holder does not run either, as where the whole machine is
// held up, nothing is missed.
func (h *heartbeat) silent(now time.Time, beat uint64) bool {
	since := min(now.Sub(h.took), 2*lookEvery)
	h.took = now
	if beat != h.beat {
		h.beat, h.heard, h.still = beat, now, 0
		return false
	}
	h.still += since
	if h.still < h.limit || h.ended {
		return false
	}
	h.ended = true
	return true
}

// died is when a worker that has ended now was last alive.
func (h *heartbeat) died(now time.Time) time.Time {
	if h.ended {
		return h.heard
	}
	return now
}
