package heartbeat

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
)

// initrd has a driver of the kernel's own watchdog, or none.
type initrd struct {
	root    string
	modules bool
	fails   error
	asked   []string
}

func (i *initrd) Indexed() bool { return i.modules }
func (i *initrd) Require(_ context.Context, modules ...string) error {
	i.asked = append(i.asked, modules...)
	if i.fails != nil {
		return i.fails
	}
	dir := filepath.Join(i.root, "sys/class/watchdog/watchdog0")
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "identity"), []byte("Software Watchdog\n"), 0o644))
}

// Who wants a watchdog hears which one it is, or that there is none.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		watchdog Watchdog
		initrd   initrd
		want     string
		asked    int
	}{
		"not wanted":            {Watchdog{}, initrd{modules: true}, "", 0},
		"none":                  {Watchdog{After: time.Minute}, initrd{modules: true}, "there is none that a driver", 0},
		"the kernel's own":      {Watchdog{After: time.Minute, Soft: true}, initrd{modules: true}, "watchdog: Software Watchdog resets the machine when the boot hangs for 60 s", 1},
		"not packed":            {Watchdog{After: time.Minute, Soft: true}, initrd{modules: true, fails: errors.New("no module softdog")}, "watchdog: no module softdog", 1},
		"a kernel without them": {Watchdog{After: time.Minute, Soft: true}, initrd{}, "there is none that a driver", 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(bytes.Buffer)
			test.initrd.root = t.TempDir()
			test.watchdog.Check(t.Context(), slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log))), &test.initrd, test.initrd.root)
			if !strings.Contains(log.String(), test.want) || test.want == "" && log.Len() > 0 || len(test.initrd.asked) != test.asked {
				t.Errorf("asked for %q, said %s", test.initrd.asked, log)
			}
		})
	}
}

// PID 1 hears of the boot from its start on, once, and until it is stopped.
func TestStart(t *testing.T) {
	var none Heartbeat
	none.Start(Watchdog{}, nil)
	none.Stop()
	var h Heartbeat
	told := make(chan Watchdog, 10)
	for range 2 {
		h.Start(Watchdog{After: time.Minute}, func(w Watchdog) { told <- w })
	}
	if w := <-told; w.After != time.Minute {
		t.Errorf("%+v", w)
	}
	h.Stop()
	if n := len(told); n > 5 {
		t.Errorf("%d more", n)
	}
}
