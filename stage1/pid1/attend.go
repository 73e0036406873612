package pid1

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// look is how often PID 1 looks at its child at least.
const look = time.Second

// attend reaps whatever ends until the child is over, hears its heartbeats, and
// tells how it ended, and whether that was for want of a sign of life.
//
// A child is over when it was collected. But a thread inside a driver that
// waits for its device can't be killed, and keeps the process: a child whose
// leader has ended is over as well, and so is one that was given the time to
// end after its verdict, was killed then, and is still there.
func (c Config) attend(ch *child) (status syscall.WaitStatus, silent bool) {
	left, dead := c.Limits.Silence, time.Duration(0)
	leaving, killed := false, false
	for {
		if status, ok := collect(ch.pid); ok {
			return status, silent
		}
		status, ended := over(ch.pid)
		if ended && dead >= look { // its other threads had that time
			c.Say(fmt.Sprintf("%s has ended but for what a driver or a disk holds; going on without it", ch.name))
			return status, silent
		}
		alive, waited := c.listen(ch)
		if left -= waited; ended {
			dead += waited
		}
		switch {
		case !leaving && ch.read():
			left, leaving = c.Limits.Grace, true
		case alive && !leaving && !killed:
			left = c.Limits.Silence
		case left > 0:
		case killed:
			c.Say(fmt.Sprintf("%s can't be ended, for a driver or a disk holds it; going on without it", ch.name))
			return status, silent
		default:
			if silent = !leaving; silent {
				c.Say(fmt.Sprintf("no sign of life of %s for %v: killing it", ch.name, c.Limits.Silence))
			}
			syscall.Kill(ch.pid, syscall.SIGKILL)
			left, killed = c.Limits.Grace, true
		}
	}
}

// listen waits for something to happen, at most for a look. It tells whether
// that was a sign of life, and how long it waited: the time that the machine
// was stopped, as a virtual one may be, does not count.
func (c Config) listen(ch *child) (alive bool, waited time.Duration) {
	began, wait := time.Now(), look
	if ch.ended < 0 {
		wait = 20 * time.Millisecond
	}
	events := []unix.PollFd{
		{Fd: int32(ch.ended), Events: unix.POLLIN}, {Fd: int32(ch.verdict), Events: unix.POLLIN}, {Fd: int32(ch.heartbeats), Events: unix.POLLIN},
	}
	if len(ch.text) > 0 {
		events[1].Fd = -1
	}
	unix.Poll(events, int(wait.Milliseconds())) // an error is a wait that was short
	switch happened := events[2].Revents; {
	case happened&unix.POLLIN != 0:
		c.watchdog.read(ch.heartbeats)
		alive = true
	case happened != 0: // closed
		unix.Close(ch.heartbeats)
		ch.heartbeats = -1
	}
	if events[1].Revents&unix.POLLIN == 0 && events[1].Revents != 0 {
		time.Sleep(time.Millisecond) // closed; it is about to end
	}
	return alive, min(time.Since(began), wait)
}

// collect collects the children that have ended, and tells whether pid was
// among them.
func collect(pid int) (syscall.WaitStatus, bool) {
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); {
		case err == syscall.EINTR:
		case err != nil:
			// ECHILD: somebody else has collected it. Nothing tells how it
			// ended; no verdict will be found.
			return status, true
		case ended == pid && (status.Exited() || status.Signaled()):
			return status, true
		case ended == 0:
			return status, false
		}
	}
}
