package pace

import "time"

// LowSpeedLimit is a rate: Bytes within Window. A body that brings less is cut
// and resumed, elsewhere if possible.
type LowSpeedLimit struct {
	Bytes  int64         // default 640 KiB
	Window time.Duration // default 10 s
}

// WithDefaults fills in what is not given.
func (l LowSpeedLimit) WithDefaults() LowSpeedLimit {
	if l.Bytes <= 0 {
		l.Bytes = 640 << 10
	}
	if l.Window <= 0 {
		l.Window = 10 * time.Second
	}
	return l
}

// Rate is the limit in bytes per second.
func (l LowSpeedLimit) Rate() float64 { return float64(l.Bytes) / l.Window.Seconds() }

// Gauge tells when a body brought less than the limit over a whole window.
type Gauge struct {
	limit   LowSpeedLimit
	samples []sample // the oldest first; at most one is older than the window
}

type sample struct {
	at    time.Time
	bytes int64
}

// NewGauge begins a window.
func NewGauge(l LowSpeedLimit, now time.Time) *Gauge {
	return &Gauge{limit: l, samples: []sample{{now, 0}}}
}

// Add notes how many bytes have come in all. While the reader waits for the
// writer the network is not to blame and the window begins again.
func (g *Gauge) Add(now time.Time, bytes int64, starved bool) (rate float64, stalled bool) {
	if starved {
		g.samples = append(g.samples[:0], sample{now, bytes})
		return 0, false
	}
	g.samples = append(g.samples, sample{now, bytes})
	for len(g.samples) > 2 && now.Sub(g.samples[1].at) >= g.limit.Window {
		g.samples = g.samples[1:]
	}
	oldest := g.samples[0]
	if now.Sub(oldest.at) < g.limit.Window {
		return 0, false
	}
	got := bytes - oldest.bytes
	return float64(got) / now.Sub(oldest.at).Seconds(), got < g.limit.Bytes
}
