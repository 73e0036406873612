package kmsg

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func handlerFor(t *testing.T, printk, ignore string, log *records, console *bytes.Buffer) (*slog.Logger, *Ring) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"printk": printk, "ignore": ignore} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := HandlerOptions{
		Console: console, Tag: "stage-1-init: ", Ring: NewRing(3), Level: slog.LevelDebug,
		Printing: ReadPrinting(filepath.Join(dir, "printk"), filepath.Join(dir, "ignore")),
		Now:      func() time.Duration { return 3214567 * time.Microsecond },
	}
	if log != nil {
		o.Kmsg = New(log)
		o.Kmsg.Tag = o.Tag
	}
	return slog.New(NewHandler(o)), o.Ring
}

// Each record is on the console once: by the kernel or by the handler.
func TestEveryLineOnceOnTheConsole(t *testing.T) {
	const stamp = "[    3.214567] stage-1-init: "
	all := stamp + "d\n" + stamp + "i\n" + stamp + "w\n" + stamp + "e\n"
	tests := map[string]struct {
		printk, ignore string
		kmsg           bool
		want           string
	}{
		"default":         {"7\t4\t1\t7\n", "N\n", true, stamp + "d\n"},
		"debug":           {"8\t4\t1\t7\n", "N\n", true, ""},
		"quiet":           {"4\t4\t1\t7\n", "N\n", true, stamp + "d\n" + stamp + "i\n" + stamp + "w\n"},
		"loglevel=1":      {"1\t4\t1\t7\n", "N\n", true, all},
		"ignore_loglevel": {"1\t4\t1\t7\n", "Y\n", true, ""},
		"no kernel log":   {"8\t4\t1\t7\n", "N\n", false, all},
		"unreadable":      {"", "", true, all},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var console bytes.Buffer
			var kernel *records
			if tt.kmsg {
				kernel = new(records)
			}
			log, ring := handlerFor(t, tt.printk, tt.ignore, kernel, &console)
			log.Debug("d")
			log.Info("i")
			log.Warn("w")
			log.Error("e")
			if d := cmp.Diff(tt.want, console.String()); d != "" {
				t.Errorf("console: %s", d)
			}
			if tt.kmsg {
				want := []string{"<7>stage-1-init: d\n", "<6>stage-1-init: i\n", "<4>stage-1-init: w\n", "<3>stage-1-init: e\n"}
				if d := cmp.Diff(want, kernel.got); d != "" {
					t.Errorf("kernel log: %s", d)
				}
			}
			if d := cmp.Diff([]string{stamp + "i", stamp + "w", stamp + "e"}, ring.Lines()); d != "" {
				t.Errorf("ring: %s", d)
			}
		})
	}
}

func TestBrokenKernelLogFallsBackToTheConsole(t *testing.T) {
	var console bytes.Buffer
	log, _ := handlerFor(t, "7\t4\t1\t7\n", "N\n", &records{refuse: []error{unix.EIO}}, &console)
	log.Info("still seen")
	if d := cmp.Diff("[    3.214567] stage-1-init: still seen\n", console.String()); d != "" {
		t.Error(d)
	}
}

func TestAttributesAndLines(t *testing.T) {
	var console bytes.Buffer
	log, _ := handlerFor(t, "1", "N", nil, &console)
	log.With("link", "eth0").Info("two\nlines", "err", "no answer")
	want := "[    3.214567] stage-1-init: eth0: two\n[    3.214567] stage-1-init: lines: no answer\n"
	if d := cmp.Diff(want, console.String()); d != "" {
		t.Error(d)
	}
}

func TestConsoleLevel(t *testing.T) {
	var console bytes.Buffer
	var kernel records
	log := slog.New(NewHandler(HandlerOptions{
		Kmsg: New(&kernel), Console: &console, Level: slog.LevelDebug, ConsoleLevel: slog.LevelInfo,
		Printing: ReadPrinting(os.DevNull, os.DevNull), Now: func() time.Duration { return 0 },
	}))
	log.Debug("hidden")
	log.Info("shown")
	if console.String() != "[    0.000000] shown\n" || len(kernel.got) != 2 {
		t.Errorf("console %q, kernel log %q", console.String(), kernel.got)
	}
}

func TestStampLooksLikeTheKernels(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                             "[    0.000000] ",
		3214567 * time.Microsecond:    "[    3.214567] ",
		123456*time.Second + 1000*999: "[123456.000999] ",
	} {
		if got := Stamp(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
