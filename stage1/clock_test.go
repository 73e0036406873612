package stage1

import (
	"log/slog"
	"testing"
	"time"

	"netstage/netup/clock"
	"netstage/stage1/fault"
)

// What a signed document and the clock say of each other, a row each: months of
// 2026, but for the time servers' lies.
func TestClockAndDocuments(t *testing.T) {
	month := func(n int) time.Time { return time.Date(2026, time.Month(n), 1, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		state                        clockState
		now                          time.Time
		created, notBefore, notAfter time.Time
		want                         time.Time // the clock, then
		refused                      bool
	}{
		"in time":                            {clockState{}, month(6), month(5), month(5), month(7), month(6), false},
		"no limits":                          {clockState{}, month(6), month(5), time.Time{}, time.Time{}, month(6), false},
		"before it was signed":               {clockState{}, month(4), month(5), time.Time{}, month(7), month(5), false},
		"not yet":                            {clockState{}, month(5), month(5), month(6), month(7), month(5), true},
		"over":                               {clockState{}, month(8), month(5), month(5), month(7), month(8), true},
		"a dead battery":                     {clockState{wasWrong: true}, month(2), month(5), month(6), month(7), month(6), false},
		"a dead battery, and a server":       {clockState{wasWrong: true, isSet: true}, month(5), month(5), month(6), month(7), month(5), true},
		"a server before it was signed":      {clockState{isSet: true, moved: -90 * 24 * time.Hour}, month(2), month(5), month(5), month(7), month(5), false},
		"a server beyond, the clock within":  {clockState{isSet: true, moved: month(60).Sub(month(6))}, month(60), month(5), month(5), month(7), month(6), false},
		"a server beyond, the clock too":     {clockState{isSet: true, moved: month(60).Sub(month(8))}, month(60), month(5), month(5), month(7), month(60), true},
		"a server beyond, the clock unknown": {clockState{wasWrong: true, isSet: true, moved: month(60).Sub(month(1))}, month(60), month(5), month(5), month(7), month(60), true},
	} {
		t.Run(name, func(t *testing.T) {
			now := c.now
			system := clock.Clock{Now: func() time.Time { return now }, Set: func(at time.Time) error { now = at; return nil }}
			err := c.state.valid(system, slog.New(slog.DiscardHandler), "web", c.created, c.notBefore, c.notAfter)
			if (err != nil) != c.refused || err != nil && fault.ClassOf(err) != fault.Policy {
				t.Errorf("%v, want refused %v", err, c.refused)
			}
			if !now.Equal(c.want) {
				t.Errorf("the clock is at %v, want %v", now, c.want)
			}
		})
	}
}
