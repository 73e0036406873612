package pid1

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long the ways out may take. A disk that stopped answering holds up the
// first, its driver the second.
const (
	syncLimit   = 10 * time.Second
	rebootLimit = 15 * time.Second
	sysrqLimit  = 5 * time.Second
	resetAfter  = 10 // seconds, of the watchdog
)

// Power syncs and asks the kernel to reboot or power off (reboot(2)). It does
// not return: where a disk does not answer, the machine goes without a sync;
// where the kernel refuses or hangs, by sysrq, which asks no driver; then a
// watchdog resets it. What can't be powered off is rebooted.
func Power(cmd int) {
	within(syncLimit, unix.Sync)
	for {
		// Where it fails it returns at once.
		within(rebootLimit, func() { unix.Reboot(cmd) })
		key := "b"
		if cmd == unix.LINUX_REBOOT_CMD_POWER_OFF {
			key, cmd = "o", unix.LINUX_REBOOT_CMD_RESTART
		}
		within(sysrqLimit, func() { os.WriteFile("/proc/sysrq-trigger", []byte(key), 0) })
		within(sysrqLimit, resetByWatchdog)
		time.Sleep(time.Second)
	}
}

// resetByWatchdog starts the watchdog, if there is one, and leaves it alone.
// Where PID 1 has it open already, it is not fed any more.
func resetByWatchdog() {
	fd, err := unix.Open(watchdogDevice, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, resetAfter) // else its own timeout has to do
}

// becomeShell replaces this process by the shell on the console.
func (c Config) becomeShell(console string) error {
	openConsole(0)
	if console != "" {
		// Not waiting for the carrier of a line.
		tty, err := unix.Open(console, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		var info unix.Stat_t
		if err := unix.Fstat(tty, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFCHR {
			unix.Close(tty)
			return fmt.Errorf("%s is no terminal", console)
		}
		unix.SetNonblock(tty, false)
		// A session of its own, for job control; PID 1 may lead one already.
		unix.Setsid()
		for fd := range 3 {
			if err := unix.Dup3(tty, fd, 0); err != nil && tty != fd {
				return err
			}
		}
		unix.IoctlSetInt(0, unix.TIOCSCTTY, 1)
	}
	return syscall.Exec(c.Exe, []string{"sh"}, Environment())
}
