package stream

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that nobody sets, in nanoseconds. What the processes
// tell each other of times is by it: stage 2 may set the other one by years.
func monotonic() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0 // there is no kernel without it
	}
	return uint64(t.Nano())
}

// since is the time since a moment of that clock.
func since(moment uint64) time.Duration { return time.Duration(monotonic() - moment) }
