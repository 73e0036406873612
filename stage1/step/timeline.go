package step

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// A Timeline records when the steps ran, in time since the kernel started
// (CLOCK_BOOTTIME), which no NTP server moves.
type Timeline struct {
	Started time.Duration // when the agent started
	Spans   []Span
}

// A Span is one run of a step. A step that was retried has several.
type Span struct {
	Step     string
	Start    time.Duration
	Duration time.Duration
	Failure  fault.Class // empty where it did not fail
	Ended    bool
}

// SinceBoot is the time since the kernel started.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Start opens a span and returns its start.
func (t *Timeline) Start(step string) time.Duration {
	now := SinceBoot()
	t.Spans = append(t.Spans, Span{Step: step, Start: now})
	return now
}

// Done closes the last span of step and returns its duration.
func (t *Timeline) Done(step string, err error) time.Duration {
	for i := len(t.Spans) - 1; i >= 0; i-- {
		if s := &t.Spans[i]; s.Step == step {
			s.Duration, s.Ended = SinceBoot()-s.Start, true
			if err != nil {
				s.Failure = fault.ClassOf(err)
			}
			return s.Duration
		}
	}
	return 0
}

// attempts is how often step ran.
func (t *Timeline) attempts(step string) int {
	n := 0
	for _, s := range t.Spans {
		if s.Step == step {
			n++
		}
	}
	return n
}

// Summary is the timeline in one line.
func (t *Timeline) Summary() string {
	var text strings.Builder
	for _, s := range t.Spans {
		fmt.Fprintf(&text, "%s %.3f ", s.Step, s.Duration.Seconds())
	}
	return strings.TrimSpace(text.String())
}
