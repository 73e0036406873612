package retry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Waits double from the first one to the limit and stay there, each within a
// quarter of that, and no two machines wait the same.
func TestBackoff(t *testing.T) {
	b := New(time.Second, 8*time.Second, Rand([]byte{2, 0, 0, 0, 0, 1}))
	check := func() {
		t.Helper()
		for i, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
			want *= time.Second
			if d := b.Next(); d < want*3/4 || d >= want*5/4 {
				t.Errorf("wait %d is %s, want about %s", i, d, want)
			}
		}
	}
	check()
	for range 100 { // 1 s << 100 is no time
		if d := b.Next(); d < 6*time.Second || d >= 10*time.Second {
			t.Fatal(d)
		}
	}
	if b.Count() != 106 {
		t.Errorf("%d waits counted", b.Count())
	}
	b.Reset()
	check()
	if d := Retransmit(Rand(nil)).Next(); d < 300*time.Millisecond || d >= 500*time.Millisecond {
		t.Errorf("a message is first sent again after %s", d)
	}
	if a, b := Rand([]byte{1}), Rand([]byte{2}); a.Uint64() == b.Uint64() {
		t.Error("two links have one sequence")
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Pause(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if err := Pause(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// hour is a lease as servers give it.
func hour() Lifetimes {
	return Lifetimes{From: time.Now(), Lease: time.Hour, T1: 30 * time.Minute, T2: 52*time.Minute + 30*time.Second}
}

// Nobody answers: the server is asked from T1 on and all from T2 on, ever more
// often but not more than once a minute, until the lease has run out.
func TestRenewUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hour()
		var last time.Duration
		rebound := false
		_, err := Renew(t.Context(), l, func(rebinding bool, wait time.Duration) (*int, error) {
			at := time.Since(l.From)
			if at < l.T1 || rebinding != (at >= l.T2) {
				t.Errorf("asked after %s, rebinding: %t", at, rebinding)
			}
			if last != 0 && at-last < time.Minute && l.T2-last > time.Minute && l.Lease-last > time.Minute {
				t.Errorf("asked after %s and after %s", last, at)
			}
			last, rebound = at, rebinding
			time.Sleep(wait)
			return nil, nil
		}, func(bool, error) { t.Error("silence was told as a failure") })
		if !errors.Is(err, ErrExpired) || !rebound || time.Since(l.From) < l.Lease || time.Since(l.From) > l.Lease+time.Second {
			t.Errorf("%v after %s, rebound: %t", err, time.Since(l.From), rebound)
		}
	})
}

// What fails is told and tried again, and an answer ends it.
func TestRenewAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, told := 0, 0
		got, err := Renew(t.Context(), hour(), func(bool, time.Duration) (*int, error) {
			if asked++; asked < 4 {
				return nil, errors.New("no socket")
			}
			return &asked, nil
		}, func(rebinding bool, err error) {
			if told++; rebinding && told == 1 || err == nil {
				t.Errorf("told of %v, rebinding: %t", err, rebinding)
			}
		})
		if err != nil || got != 4 || told != 3 {
			t.Errorf("%d, %v, told %d times", got, err, told)
		}
	})
}

// A server that takes the lease back is believed at once.
func TestRenewLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, refused := hour(), errors.New("NAK")
		_, err := Renew(t.Context(), l, func(bool, time.Duration) (*int, error) {
			return nil, fmt.Errorf("%w: %w", ErrLost, refused)
		}, func(bool, error) { t.Error("told beside") })
		if !errors.Is(err, ErrLost) || !errors.Is(err, refused) || time.Since(l.From) != l.T1 {
			t.Errorf("%v after %s", err, time.Since(l.From))
		}
	})
}

// The end of the context ends a wait for T1, one for an answer, one after a
// failure, and that of a lease without end.
func TestRenewEndsWithItsContext(t *testing.T) {
	endless := func() Lifetimes { return Lifetimes{From: time.Now()} }
	for name, c := range map[string]struct {
		lease func() Lifetimes
		after time.Duration
		asked int
		err   error // of an answer
	}{
		"before T1":        {hour, 10 * time.Minute, 0, nil},
		"for an answer":    {hour, 31 * time.Minute, 1, nil},
		"after a failure":  {hour, 31 * time.Minute, 1, errors.New("no socket")},
		"lease for ever":   {endless, 1000 * time.Hour, 0, nil},
		"before the first": {hour, 0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.after)
				defer cancel()
				start, asked := time.Now(), 0
				_, err := Renew(ctx, c.lease(), func(_ bool, wait time.Duration) (*int, error) {
					asked++
					if c.err == nil {
						_ = Pause(ctx, wait)
					}
					return nil, c.err
				}, func(bool, error) {})
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != c.after || asked != c.asked {
					t.Errorf("%v after %s, asked %d times", err, time.Since(start), asked)
				}
			})
		})
	}
}
