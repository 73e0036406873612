package fetch

import (
	"fmt"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
)

// history is what happened in a download so far.
type history struct {
	start time.Time
	meter pace.Meter
	stats Stats
	tried attempts
	last  *mirror.Fault
}

// fault notes one that ended a body.
func (h *history) fault(f *mirror.Fault) {
	h.last = f
	h.meter = pace.Meter{}
	h.survived(f)
}

// survived notes one that others made good.
func (h *history) survived(f *mirror.Fault) {
	h.stats.Retries++
	h.tried.add(time.Since(h.start), f.Text)
}

// attempts is the bounded story of what was tried and when, repeated entries
// counted.
type attempts []attempt

type attempt struct {
	text        string
	first, last time.Duration // since the download began
	count       int
}

func (a *attempts) add(at time.Duration, text string) {
	const most = 12
	if n := len(*a); n > 0 && (*a)[n-1].text == text {
		(*a)[n-1].last = at
		(*a)[n-1].count++
		return
	}
	*a = append(*a, attempt{text, at, at, 1})
	if len(*a) > most {
		*a = (*a)[1:]
	}
}

func (a attempts) list() []string {
	var out []string
	for _, t := range a {
		line := fmt.Sprintf("%.1f s: %s", t.first.Seconds(), t.text)
		if t.count > 1 {
			line = fmt.Sprintf("%.1f-%.1f s: %s (%d times)", t.first.Seconds(), t.last.Seconds(), t.text, t.count)
		}
		out = append(out, line)
	}
	return out
}
