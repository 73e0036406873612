package stage1

import (
	"context"
	"fmt"
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

// A pulse tells PID 1, which feeds the watchdog, that the boot goes on. A boot
// goes on while its steps begin and end, while it says something and bytes
// arrive, and while an operator is asked what to do. What retries for ever
// says so each time, and is no hang: a reset would not mend it.
type pulse struct {
	mu    sync.Mutex
	last  time.Time     // sign of life
	quiet time.Duration // how long there may be none; 0: for ever
}

// sign is one of life.
func (p *pulse) sign() { p.expect(-1) }

// expect is a sign of life that others follow within quiet; 0: none has to, and
// less: as before.
func (p *pulse) expect(quiet time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if quiet >= 0 {
		p.quiet = quiet
	}
}

func (p *pulse) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quiet == 0 || time.Since(p.last) < p.quiet
}

// beat calls tell once a second while there is a pulse.
func (p *pulse) beat(ctx context.Context, tell func()) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		if p.alive() {
			tell()
		}
		select {
		case <-second.C:
		case <-ctx.Done():
			return
		}
	}
}

// How long a step without a Limit may be silent. The network tells each minute
// that it waits; a server may ask for five minutes of patience, and is given up
// to twice as much.
const (
	quietNetwork = 150 * time.Second
	quietOther   = 11 * time.Minute
)

// quietOf is how long a step may show no sign of life. One with a Limit ends by
// it, and the agent by what comes after it.
func quietOf(s Step) time.Duration {
	switch {
	case s.Name == "network":
		return quietNetwork
	case s.Name == "root": // disks may be checked, for hours
		return checkLimit + quietOther
	case s.Limit > 0:
		return s.Limit + grace + 10*time.Second
	}
	return quietOther
}

// startPulse has PID 1 start the watchdog as soon as there is one: a driver may
// hang, too.
func (b *Boot) startPulse() {
	w := b.config.Watchdog
	if w.After == 0 || b.Beat == nil || b.beating != nil {
		return
	}
	b.beating = inBackground(func(ctx context.Context) error {
		b.pulse.beat(ctx, func() { b.Beat(w) })
		return nil
	})
}

// checkWatchdog tells which one there is, now that drivers are loaded.
func (b *Boot) checkWatchdog(ctx context.Context) {
	w := b.config.Watchdog
	if w.After == 0 {
		return
	}
	if w.Soft && b.drivers != nil && watchdogAt("/") == "" {
		if err := b.drivers.Load(ctx, "softdog"); err != nil {
			b.Log.Warn(fmt.Sprintf("watchdog: %v", err))
		}
	}
	if name := watchdogAt("/"); name != "" {
		b.Log.Info(fmt.Sprintf("watchdog: %s resets the machine when the boot hangs for %.0f s", name, w.After.Seconds()))
	} else {
		b.Log.Warn("watchdog: there is none that a driver of this initrd knows (netstage initrd --module +i6300esb, +iTCO_wdt; or boot.watchdog=60,softdog with +softdog)")
	}
}

// stopPulse leaves the rest to PID 1.
func (b *Boot) stopPulse() {
	if b.beating != nil {
		b.beating.stop()
		b.beating = nil
	}
}

// watchdogAt is what the driver of the first watchdog calls it; "" where there
// is none (Documentation/ABI/testing/sysfs-class-watchdog).
func watchdogAt(root string) string {
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

// audible is a handler of lines that are signs of life.
type audible struct {
	slog.Handler
	pulse *pulse
}

func (a audible) Handle(ctx context.Context, r slog.Record) error {
	a.pulse.sign()
	return a.Handler.Handle(ctx, r)
}

func (a audible) WithAttrs(attrs []slog.Attr) slog.Handler {
	return audible{a.Handler.WithAttrs(attrs), a.pulse}
}

func (a audible) WithGroup(name string) slog.Handler {
	return audible{a.Handler.WithGroup(name), a.pulse}
}

// parseWatchdog reads SECONDS[,keep][,softdog].
func parseWatchdog(s string) (Watchdog, bool) {
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
