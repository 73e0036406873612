package clock

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the system's clock, or a test's.
type Clock struct {
	Now func() time.Time
	Set func(time.Time) error
}

// System is the kernel's clock, CLOCK_REALTIME.
func System() Clock {
	return Clock{time.Now, func(t time.Time) error {
		ts := unix.NsecToTimespec(t.UnixNano())
		return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
	}}
}

// Raise sets a clock that is before floor, a time that has certainly passed
// because of what happened then, to floor, and says so. It reports whether the
// clock was wrong. What can't be set is a warning: a boot may do without.
func (c Clock) Raise(log *slog.Logger, floor time.Time, what string) bool {
	now := c.Now()
	if !now.Before(floor) {
		return false
	}
	log = log.With("what", "clock")
	log.Warn(fmt.Sprintf("%s is before %s, set to %s", text(now), what, text(floor)))
	if err := c.Set(floor); err != nil {
		log.Warn("set it", "err", err)
	}
	return true
}

// patience is how long time servers may take to answer.
const patience = 2 * time.Second

// closeEnough is an error of the clock that nothing here minds; stage 2 has a
// finer hand.
const closeEnough = time.Second

// Sync sets the clock by the first of the servers that answers with a time
// not before floor, within two seconds. It reports whether one did; failures
// are warnings.
func (c Clock) Sync(ctx context.Context, log *slog.Logger, dial Dial, servers []netip.Addr, floor time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	log = log.With("what", "clock")
	log.Info(fmt.Sprintf("asking %v for the time", servers))
	answer, err := Query(ctx, dial, servers)
	if err != nil {
		log.Warn("it stays at "+text(c.Now()), "err", err)
		return false
	}
	now := c.Now()
	right := now.Add(answer.Offset)
	switch {
	case right.Before(floor):
		log.Warn(fmt.Sprintf("%s says %s, before this program was built; it stays at %s", answer.Server, text(right), text(now)))
		return false
	case answer.Offset.Abs() < closeEnough:
		log.Info(fmt.Sprintf("right by %s, in %d ms", answer.Server, answer.RoundTrip.Milliseconds()))
		return true
	}
	log.Info(fmt.Sprintf("set from %s to %s by %s, in %d ms", text(now), text(right), answer.Server, answer.RoundTrip.Milliseconds()))
	if err := c.Set(right); err != nil {
		log.Warn("set it", "err", err)
	}
	return true
}

// text is a time for people.
func text(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
