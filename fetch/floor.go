package fetch

import "time"

func (f Floor) rate() float64 { return float64(f.Bytes) / f.Window.Seconds() }

// floorGauge tells when a body brought less than the floor over a whole window.
type floorGauge struct {
	floor   Floor
	samples []sample // the oldest first; at most one is older than the window
}

type sample struct {
	at    time.Time
	bytes int64
}

func newFloorGauge(f Floor, now time.Time) *floorGauge {
	return &floorGauge{floor: f, samples: []sample{{now, 0}}}
}

// add notes how many bytes have come in all. While the reader waits for the writer the network is not to blame and
// the window begins again.
func (g *floorGauge) add(now time.Time, bytes int64, starved bool) (rate float64, stalled bool) {
	if starved {
		g.samples = append(g.samples[:0], sample{now, bytes})
		return 0, false
	}
	g.samples = append(g.samples, sample{now, bytes})
	for len(g.samples) > 2 && now.Sub(g.samples[1].at) >= g.floor.Window {
		g.samples = g.samples[1:]
	}
	oldest := g.samples[0]
	if now.Sub(oldest.at) < g.floor.Window {
		return 0, false
	}
	got := bytes - oldest.bytes
	return float64(got) / now.Sub(oldest.at).Seconds(), got < g.floor.Bytes
}
