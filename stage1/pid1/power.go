package pid1

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Power syncs and asks the kernel to reboot or power off (reboot(2)). It does
// not return: where the kernel refuses, it asks again every second, by other
// means too.
func Power(cmd int) {
	for {
		unix.Sync()
		unix.Reboot(cmd)
		if cmd == unix.LINUX_REBOOT_CMD_RESTART {
			os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
		}
		time.Sleep(time.Second)
	}
}

// becomeShell replaces this process by the shell on the console.
func (c Config) becomeShell(console string) error {
	if console != "" {
		tty, err := unix.Open(console, unix.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
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
