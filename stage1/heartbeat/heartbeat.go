// Package heartbeat tells PID 1, which feeds the watchdog, that the boot goes on.
package heartbeat

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Watchdog is what boot.watchdog= asks for.
type Watchdog struct {
	After time.Duration // how long the boot may hang before the machine is reset; 0: for ever
	Keep  bool          // stage 2 finds it running
	Soft  bool          // the kernel's own will do where the machine has none
}

// A Heartbeat tells whether the boot goes on. It does
// while its steps begin and end, while it says something and bytes
// arrive, and while an operator is asked what to do. What retries for ever
// says so each time, and is no hang: a reset would not mend it.
type Heartbeat struct {
	mu    sync.Mutex
	last  time.Time     // sign of life
	quiet time.Duration // how long there may be none; 0: for ever
}

// Sign is one of life.
func (h *Heartbeat) Sign() { h.Expect(-1) }

// Expect is a sign of life that others follow within quiet; 0: none has to, and
// less: as before.
func (h *Heartbeat) Expect(quiet time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = time.Now()
	if quiet >= 0 {
		h.quiet = quiet
	}
}

func (h *Heartbeat) alive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quiet == 0 || time.Since(h.last) < h.quiet
}

// Send calls tell once a second while the boot goes on.
func (h *Heartbeat) Send(ctx context.Context, tell func()) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		if h.alive() {
			tell()
		}
		select {
		case <-second.C:
		case <-ctx.Done():
			return
		}
	}
}

// At is what the driver of the first watchdog calls it; "" where there
// is none (Documentation/ABI/testing/sysfs-class-watchdog).
func At(root string) string {
	dir := filepath.Join(root, "sys/class/watchdog/watchdog0")
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	name, err := os.ReadFile(filepath.Join(dir, "identity"))
	if err != nil {
		return "watchdog0"
	}
	return strings.TrimSpace(string(name))
}

// Handler takes lines as signs of life, and hands them on.
func (h *Heartbeat) Handler(next slog.Handler) slog.Handler { return audible{next, h} }

// audible is a handler of lines that are signs of life.
type audible struct {
	slog.Handler
	heart *Heartbeat
}

func (a audible) Handle(ctx context.Context, r slog.Record) error {
	a.heart.Sign()
	return a.Handler.Handle(ctx, r)
}

func (a audible) WithAttrs(attrs []slog.Attr) slog.Handler {
	return audible{a.Handler.WithAttrs(attrs), a.heart}
}

func (a audible) WithGroup(name string) slog.Handler {
	return audible{a.Handler.WithGroup(name), a.heart}
}

// Parse reads SECONDS[,keep][,softdog].
func Parse(s string) (Watchdog, bool) {
	words := strings.Split(s, ",")
	seconds, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil || seconds != 0 && (seconds < 5 || seconds > 3600) {
		return Watchdog{}, false
	}
	w := Watchdog{After: time.Duration(seconds) * time.Second}
	for _, word := range words[1:] {
		switch word {
		case "keep":
			w.Keep = true
		case "softdog":
			w.Soft = true
		default:
			return Watchdog{}, false
		}
	}
	return w, true
}
