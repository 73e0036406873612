package heartbeat

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Watchdog is what boot.watchdog= asks for.
type Watchdog struct {
	After time.Duration // how long the boot may hang before the machine is reset; 0: for ever
	Keep  bool          // stage 2 finds it running
	Soft  bool          // the kernel's own will do where the machine has none
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

// Drivers are those of the initrd.
type Drivers interface {
	Indexed() bool // whether there are any
	Require(ctx context.Context, modules ...string) error
}

// Check loads the kernel's own watchdog where that will do, and tells which one
// there is, now that drivers are loaded. root is where /sys is.
func (w Watchdog) Check(ctx context.Context, log *slog.Logger, drivers Drivers, root string) {
	if w.After == 0 {
		return
	}
	log = log.With("what", "watchdog")
	if w.Soft && drivers.Indexed() && identity(root) == "" {
		if err := drivers.Require(ctx, "softdog"); err != nil {
			log.Warn(err.Error())
		}
	}
	lock, _ := os.ReadFile(filepath.Join(root, "sys/class/watchdog/watchdog0/nowayout"))
	if strings.TrimSpace(string(lock)) == "1" && !w.Keep {
		return // PID 1 leaves it alone, and says so
	}
	if name := identity(root); name != "" {
		log.Info(fmt.Sprintf("%s resets the machine when the boot hangs for %.0f s", name, w.After.Seconds()))
	} else {
		log.Warn("there is none that a driver of this initrd knows (netstage initrd --module +i6300esb, +iTCO_wdt; or boot.watchdog=60,softdog with +softdog)")
	}
}

// identity is what the driver of the first watchdog calls it; "" where there
// is none (Documentation/ABI/testing/sysfs-class-watchdog).
func identity(root string) string {
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
