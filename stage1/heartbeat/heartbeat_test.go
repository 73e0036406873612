package heartbeat

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"netstage/debug/sentence"
)

func TestParse(t *testing.T) {
	for value, want := range map[string]Watchdog{
		"60": {After: time.Minute}, "0": {}, "5,keep": {After: 5 * time.Second, Keep: true},
		"30,softdog,keep": {30 * time.Second, true, true}, "": {}, "x": {}, "4": {}, "3601": {}, "-1": {}, "60s": {}, "60,": {}, "60,Keep": {},
	} {
		bad := want == Watchdog{} && value != "0"
		if got, ok := Parse(value); got != want || ok == bad {
			t.Errorf("%q: %+v, %v", value, got, ok)
		}
	}
}

// Whoever says nothing for too long is no sign of life; who waits and says so,
// and an operator who may take for ever, are.
func TestHeartbeat(t *testing.T) {
	for name, test := range map[string]struct {
		quiet  time.Duration
		during func(*slog.Logger)
		want   int // heartbeats
	}{
		"silence that is too long": {100 * time.Second, func(*slog.Logger) { time.Sleep(time.Hour) }, 100},
		"lines of the log": {150 * time.Second, func(log *slog.Logger) {
			for range 60 {
				time.Sleep(time.Minute)
				log.With("a", 1).WithGroup("g").Info("still waiting")
			}
		}, 3600},
		"an operator": {0, func(*slog.Logger) { time.Sleep(time.Hour) }, 3600},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var heart Heartbeat
				log := slog.New(heart.Handler(sentence.NewHandler(slog.LevelInfo, sentence.To(io.Discard))))
				heart.Expect(test.quiet)
				ctx, cancel := context.WithCancel(t.Context())
				heartbeats, done := 0, make(chan bool)
				go func() {
					heart.send(ctx, func() { heartbeats++ })
					close(done)
				}()
				test.during(log)
				cancel()
				<-done
				if heartbeats < test.want-5 || heartbeats > test.want+5 {
					t.Errorf("%d heartbeats, want %d", heartbeats, test.want)
				}
			})
		})
	}
}

func TestAt(t *testing.T) {
	root := t.TempDir()
	if got := identity(root); got != "" {
		t.Errorf("%q", got)
	}
	dir := filepath.Join(root, "sys/class/watchdog/watchdog0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := identity(root); got != "watchdog0" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte("i6300ESB timer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := identity(root); got != "i6300ESB timer" {
		t.Errorf("%q", got)
	}
}
