package pace

import (
	"testing"
	"time"
)

// simulate runs a download of size bytes whose rate depends on the number of
// streams, and returns how many there were in the end and the verdicts.
func simulate(size int64, starved bool, rate func(streams int) float64) (int, []Trial) {
	s := NewTuner(Parallel{}.WithDefaults())
	now, bytes := time.Unix(0, 0), int64(0)
	var verdicts []Trial
	for bytes < size {
		if v := s.Add(now, bytes, size-bytes, starved); v != nil {
			verdicts = append(verdicts, *v)
		}
		now = now.Add(100 * time.Millisecond)
		bytes += int64(rate(s.streams) / 10)
	}
	return s.streams, verdicts
}

func TestTuner(t *testing.T) {
	const mb = 1e6
	limited := func(n int) float64 { return mb * float64(n) }
	shared := func(int) float64 { return 10 * mb }
	few := func(n int) float64 { return mb * float64(min(n, 2)) }
	for name, c := range map[string]struct {
		size    int64
		starved bool
		rate    func(int) float64
		streams int
		trials  int
	}{
		"every stream is limited":          {100 * mb, false, limited, 4, 2},
		"the link is shared":               {1000 * mb, false, shared, 1, 2},
		"two are as good as four":          {100 * mb, false, few, 2, 3},
		"nearly there":                     {9 * mb, false, limited, 1, 0},
		"the writer is the bottleneck":     {100 * mb, true, limited, 1, 0},
		"a third more, of a slow link too": {100 * mb, false, func(n int) float64 { return 0.1 * mb * (1 + 0.34*float64(n-1)) }, 4, 2},
	} {
		if streams, v := simulate(c.size, c.starved, c.rate); streams != c.streams || len(v) != c.trials {
			t.Errorf("%s: %d streams after the trials %+v, want %d", name, streams, v, c.streams)
		}
	}
}

// TestTunerAfterAFault measures anew, against the same rate as before.
func TestTunerAfterAFault(t *testing.T) {
	s := NewTuner(Parallel{Streams: 2}.WithDefaults())
	now := time.Unix(0, 0)
	s.Add(now, 0, 1e9, false)
	s.Add(now.Add(2*time.Second), 2e6, 1e9, false)
	if s.streams != 2 {
		t.Fatalf("%d streams", s.streams)
	}
	s.Pause()
	s.Add(now.Add(60*time.Second), 3e6, 1e9, false)
	if v := s.Add(now.Add(62*time.Second), 7e6, 1e9, false); v == nil || !v.Kept || v.Rate != 2e6 || v.Half != 1e6 {
		t.Errorf("%+v", v)
	}
}

func TestTunerEnds(t *testing.T) {
	s := NewTuner(Parallel{}.WithDefaults())
	for range mostEnds - 1 {
		if s.Again(); s.fixed {
			t.Fatal("no more trials too soon")
		}
	}
	if s.Again(); !s.fixed {
		t.Error("still trials")
	}
}
