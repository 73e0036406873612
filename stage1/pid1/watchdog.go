package pid1

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A watchdog is a timer that resets the machine unless somebody writes to it in
// time (Documentation/watchdog/watchdog-api.rst). PID 1 does, whenever its
// child says that the boot goes on: when either of them hangs, the machine is
// reset.
type watchdog struct {
	say      func(string)
	fd       int    // 0: not open
	keep     bool   // for stage 2
	reported string // the last problem
}

const (
	watchdogDevice = "/dev/watchdog"
	// watchdogLock says that no watchdog is stopped by this kernel or driver
	// once it runs (Documentation/ABI/testing/sysfs-class-watchdog).
	watchdogLock = "/sys/class/watchdog/watchdog0/nowayout"
)

// Heartbeat is what a child writes to its file descriptor 4 for as long as the
// boot goes on, once a second: the time after which the watchdog is to reset
// the machine, 0 for no watchdog, and whether stage 2 is to find it running.
// There is nothing to be said before the first heartbeat, so each says it all.
func Heartbeat(after time.Duration, keep bool) string {
	return fmt.Sprintf("%d %t\n", int(after.Seconds()), keep)
}

// parseHeartbeat reads the last whole line of text.
func parseHeartbeat(text string) (seconds int, keep, ok bool) {
	lines := strings.Split(text, "\n")
	if len(lines) < 2 {
		return 0, false, false
	}
	first, second, _ := strings.Cut(lines[len(lines)-2], " ")
	seconds, err := strconv.Atoi(first)
	return seconds, second == "true", err == nil && seconds >= 0
}

// read reads what the child has said, opens the watchdog at the first
// heartbeat, and feeds it.
func (w *watchdog) read(heartbeats int) {
	var text [512]byte
	n, err := unix.Read(heartbeats, text[:])
	if err != nil || n <= 0 {
		return
	}
	seconds, keep, ok := parseHeartbeat(string(text[:n]))
	if !ok || seconds == 0 {
		return
	}
	w.keep = keep
	if w.fd == 0 && !keep && unstoppable() {
		w.complain("the watchdog can't be stopped once it runs (nowayout), and would reset stage 2: it is left alone; " +
			"boot.watchdog=SECONDS,keep starts it for a stage 2 that feeds it")
		return
	}
	if w.fd == 0 {
		w.open(seconds)
	}
	w.feed()
}

// open starts the watchdog. Where there is none its driver may still be on its
// way; what else is wrong is told once.
func (w *watchdog) open(seconds int) {
	fd, err := unix.Open(watchdogDevice, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case err == unix.ENOENT || err == unix.ENODEV || err == unix.ENXIO:
		return
	case err != nil:
		w.complain(fmt.Sprintf("no watchdog: open %s: %v", watchdogDevice, err))
		return
	}
	w.fd = fd
	if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		now, _ := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT)
		w.complain(fmt.Sprintf("the watchdog keeps its own timeout of %d s: set %d s: %v", now, seconds, err))
	}
}

func unstoppable() bool {
	lock, err := os.ReadFile(watchdogLock)
	return err == nil && strings.TrimSpace(string(lock)) == "1"
}

func (w *watchdog) complain(problem string) {
	if problem != w.reported {
		w.reported = problem
		w.say(problem)
	}
}

func (w *watchdog) feed() {
	if w.fd != 0 {
		unix.Write(w.fd, []byte{0})
	}
}

// stop stops the watchdog by its magic character, as far as the driver lets
// it. It can be started again.
func (w *watchdog) stop() {
	if w.fd != 0 {
		unix.Write(w.fd, []byte("V"))
		unix.Close(w.fd)
		w.fd = 0
	}
}

// handOver gives stage 2 the whole time to go on with the watchdog, or stops
// it.
func (w *watchdog) handOver() {
	if !w.keep {
		w.stop()
	}
	w.feed()
}
