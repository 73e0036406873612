package fetch

import (
	"fmt"
	"math"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
)

// Progress is how far a download is.
type Progress struct {
	What    string        // what is fetched; empty: "image"
	Bytes   int64         // received so far
	Total   int64         // -1: not known
	Rate    float64       // bytes per second, lately
	ETA     time.Duration // -1: not known
	Mirror  string        // host; empty: none was asked yet
	Retries int           // faults survived
	Elapsed time.Duration
	Mirrors []Mirror // all of them, in the order of Request.Mirrors; never nil in what the engine tells
}

// Mirror is what a download knows of one mirror.
type Mirror = mirror.State

// String is a line of at most 79 columns: "image 34% 352/1024 MiB 118 MiB/s ETA
// 6 s from HOST".
func (p Progress) String() string {
	what := p.What
	if what == "" {
		what = "image"
	}
	s := fmt.Sprintf("%s %d MiB", what, p.Bytes>>20)
	if p.Total > 0 {
		s = fmt.Sprintf("%s %d%% %d/%d MiB", what, p.Bytes*100/p.Total, p.Bytes>>20, mib(p.Total))
	}
	s += " " + pace.RateString(p.Rate)
	if p.ETA >= 0 {
		s += fmt.Sprintf(" ETA %d s", int64(math.Ceil(p.ETA.Seconds())))
	}
	tail := ""
	if p.Retries == 1 {
		tail = " (1 retry)"
	} else if p.Retries > 1 {
		tail = fmt.Sprintf(" (%d retries)", p.Retries)
	}
	host := []rune(p.Mirror)
	if room := 79 - len(s) - len(tail) - len(" from "); len(host) > room {
		host = append(host[:max(0, room-1)], '…')
	}
	if len(host) == 0 {
		return s + tail
	}
	return s + " from " + string(host) + tail
}
