package stage1

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
)

func TestParseWatchdog(t *testing.T) {
	for value, want := range map[string]Watchdog{
		"60": {After: time.Minute}, "0": {}, "5,keep": {After: 5 * time.Second, Keep: true},
		"30,softdog,keep": {30 * time.Second, true, true}, "": {}, "x": {}, "4": {}, "3601": {}, "-1": {}, "60s": {}, "60,": {}, "60,Keep": {},
	} {
		bad := want == Watchdog{} && value != "0"
		c, err := ParseConfig(cmdline.Params{{Key: "boot.watchdog", Value: value, HasValue: true}})
		if c.Watchdog != want || (err != nil) != bad {
			t.Errorf("%q: %+v, %v", value, c.Watchdog, err)
		}
	}
}

// pulseOf runs a boot's steps with a pulse and counts the beats of each.
func pulseOf(t *testing.T, steps ...Step) map[string]int {
	beats := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		b := Boot{Log: slog.New(slog.DiscardHandler), Beat: func(Watchdog) {}}
		b.config = defaultConfig()
		log := slog.New(audible{slog.NewTextHandler(io.Discard, nil), &b.pulse})
		var now atomic.Value
		at := func(step string) { now.Store(step) }
		at("")
		b.config.Watchdog.After = time.Minute
		b.Beat = func(Watchdog) { beats[now.Load().(string)]++ }
		b.Break = func(context.Context, Config, Step) fault.Choice { at("break"); time.Sleep(time.Hour); return "" }
		b.Rescue = func(context.Context, Config, fault.Failure) fault.Choice {
			at("menu")
			time.Sleep(time.Hour)
			return fault.Reboot
		}
		b.pulse.expect(0)
		b.startPulse()
		for i, s := range steps {
			run := s.Run
			steps[i].Run = func(ctx context.Context) error { at(s.Name); return run(context.WithValue(ctx, logKey{}, log)) }
		}
		Runner{
			Log: log, Timeline: &b.timeline, Began: func(s Step) { b.pulse.expect(quietOf(s)) }, Breaks: func(name string) bool { return name == "image" },
			Break: b.breakpoint, OnFailure: b.decide, Hung: func(string) {},
		}.Run(t.Context(), steps)
		b.stopPulse()
	})
	return beats
}

type logKey struct{}

// A step that says nothing for too long loses the pulse; one that waits and
// says so, and an operator, keep it.
func TestPulse(t *testing.T) {
	silent := func(context.Context) error { time.Sleep(time.Hour); return nil }
	beats := pulseOf(t,
		Step{Name: "devices", Limit: time.Minute, Run: silent},
		Step{Name: "network", Run: silent},
		Step{Name: "image", Run: func(ctx context.Context) error {
			for range 60 {
				time.Sleep(time.Minute)
				ctx.Value(logKey{}).(*slog.Logger).Info("still waiting")
			}
			return errors.New("gone")
		}},
	)
	for step, want := range map[string][2]int{
		"devices": {95, 105}, "network": {145, 155}, "image": {3595, 3605}, "break": {3595, 3605}, "menu": {3595, 3605},
	} {
		if got := beats[step]; got < want[0] || got > want[1] {
			t.Errorf("%s: %d beats, want %v", step, got, want)
		}
	}
}

func TestWatchdogAt(t *testing.T) {
	root := t.TempDir()
	if got := watchdogAt(root); got != "" {
		t.Errorf("%q", got)
	}
	dir := filepath.Join(root, "sys/class/watchdog/watchdog0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := watchdogAt(root); got != "watchdog0" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte("i6300ESB timer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := watchdogAt(root); got != "i6300ESB timer" {
		t.Errorf("%q", got)
	}
}
