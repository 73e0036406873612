package segments

import (
	"math"
	"slices"

	"netstage/fetch/internal/mirror"
)

// Segment is a part of the image, of which the bytes from Begin to Have are in
// the store.
type Segment struct {
	Begin, Have, End int64
	From             *mirror.Mirror
	Sure             bool    // the mirror told which version it is
	by               *worker // who is at it; nil: nobody
}

const (
	// align is a multiple of every dm-verity block size, so that no block is of
	// two segments.
	align             = 64 << 10
	least, most       = 16 * align, 32 << 20
	noSegment   int64 = math.MaxInt64
	shareLeast        = 32 * align // less is not divided; far more than a worker reads at once
)

func aligned(n int64) int64 { return (n + align - 1) / align * align }

// table is how an image is divided into segments. What no segment has before
// the first of them is the engine's.
type table struct {
	size     int64      // of the image
	length   int64      // of a new segment
	grain    int64      // of the verifier: what is left in the store ends at a multiple of it
	segments []*Segment // in order
	next     int64      // everything from here on is nobody's yet
	claimed  int64      // what comes before is the engine's, in hand or in a read under way
}

// stored is how many bytes from at on are in the store.
func (t *table) stored(at int64) (n int64) {
	for _, s := range t.segments {
		n += max(0, s.Have-max(s.Begin, at))
	}
	return n
}

// first is where the first segment begins.
func (t *table) first() int64 {
	if len(t.segments) == 0 {
		return noSegment
	}
	return t.segments[0].Begin
}

// claim makes up to n bytes from at on the engine's, where no segment begins
// before their end, and returns how many they are.
func (t *table) claim(at, n int64) int64 {
	n = max(0, min(n, t.first()-at))
	t.claimed = at + n
	return n
}

// ready tells what is in the store at byte at: bytes up to Have, from a mirror.
// When there is none yet, more says whether somebody will bring it, if there
// are workers.
func (t *table) ready(at int64) (s Segment, more bool) {
	t.claimed = at
	for len(t.segments) > 0 && t.segments[0].Have == t.segments[0].End && t.segments[0].End <= at {
		t.segments = t.segments[1:]
	}
	switch {
	case len(t.segments) == 0:
		return Segment{}, t.next == at
	case t.segments[0].Begin > at:
		return Segment{}, false
	}
	return *t.segments[0], true
}

// gap is the last byte that the engine has to ask for itself at byte at, -1 for
// all that follow.
func (t *table) gap(at int64) (last int64) {
	t.claimed = at
	if t.first() == noSegment {
		return -1
	}
	return t.first() - 1
}

// pick finds something to do: a segment that somebody left, the next one, or
// half of what another worker still has before it. Nil where there is nothing.
func (t *table) pick() *Segment {
	var longest *Segment
	for i, s := range t.segments {
		switch {
		case s.Have == s.End:
		case s.by == nil && s.Have == s.Begin:
			return s
		case s.by == nil:
			return t.divide(i, s.Have)
		case longest == nil || s.End-s.Have > longest.End-longest.Have:
			longest = s
		}
	}
	t.next = max(t.next, aligned(t.claimed))
	if t.next < t.size {
		s := &Segment{Begin: t.next, Have: t.next, End: min(t.next+t.length, t.size)}
		t.segments, t.next = append(t.segments, s), s.End
		return s
	}
	if longest == nil || longest.End-longest.Have < shareLeast {
		return nil
	}
	return t.divide(slices.Index(t.segments, longest), aligned(longest.Have+(longest.End-longest.Have)/2))
}

// divide cuts the i-th segment at a byte and returns its second part.
func (t *table) divide(i int, at int64) *Segment {
	s := t.segments[i]
	rest := &Segment{Begin: at, Have: at, End: s.End}
	s.End = at
	t.segments = slices.Insert(t.segments, i+1, rest)
	return rest
}

// release takes a segment back from its worker.
func (t *table) release(s *Segment) {
	s.by = nil
	if s.Have < s.End {
		// At a block's end: no block is of two mirrors, and nothing stays in
		// the store that can't be verified until somebody brings its rest. The
		// engine may have verified all that is kept, and none of what is not.
		s.Have -= (s.Have - s.Begin) % t.grain
	}
}

// drop drops what a mirror brought.
func (t *table) drop(m *mirror.Mirror) {
	t.segments = slices.DeleteFunc(t.segments, func(s *Segment) bool { return s.From == m })
}

// abandon drops what nobody will finish.
func (t *table) abandon() {
	for _, s := range t.segments {
		s.End = s.Have
	}
	t.segments = slices.DeleteFunc(t.segments, func(s *Segment) bool { return s.Begin == s.End })
	t.next = 0
	if n := len(t.segments); n > 0 {
		t.next = t.segments[n-1].End
	}
}
