package pid1

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// within does something and reports whether it ended in time. What hangs is
// left behind: a call that waits for a device can't be ended.
func within(limit time.Duration, do func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// reboots starts the machine again, unless the function it returns is called
// in time: for what only this thread can do and nothing can end.
func (c Config) reboots(after time.Duration, what string) (stop func()) {
	timer := time.AfterFunc(after, func() {
		c.Say(fmt.Sprintf("%s did not end in %v: rebooting", what, after))
		Power(unix.LINUX_REBOOT_CMD_RESTART)
	})
	return func() { timer.Stop() }
}
