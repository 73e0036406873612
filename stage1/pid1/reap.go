package pid1

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run starts Exe under the name argv[0] with pipes as descriptors 3 and 4,
// reaps whatever ends until the child does, and returns what it wrote to 3. To
// 4 it writes beats.
//
// wait4(-1) steals nobody's status here: this process starts no other child
// meanwhile, and os/exec is not used in it at all.
func (c Config) run(argv []string) ([]byte, syscall.WaitStatus, error) {
	var pipe, beats [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, 0, err
	}
	defer unix.Close(pipe[0])
	if err := unix.Pipe2(beats[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		unix.Close(pipe[1])
		return nil, 0, err
	}
	defer unix.Close(beats[0])
	openConsole()
	exe := c.Exe
	if _, err := os.Stat(exe); err != nil {
		exe = "/proc/self/exe" // the initramfs has been emptied
	}
	pid, err := syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Env:   Environment(),
		Files: []uintptr{0, 1, 2, uintptr(pipe[1]), uintptr(beats[1])},
	})
	unix.Close(pipe[1])
	unix.Close(beats[1])
	if err != nil {
		return nil, 0, err
	}
	status := c.reapUntil(pid, beats[0])

	// Not until end of file: an orphan may hold the other end for ever.
	verdict := make([]byte, 64<<10)
	n, err := unix.Read(pipe[0], verdict)
	if err != nil || n < 0 {
		n = 0
	}
	return verdict[:n], status, nil
}

// alone is how long PID 1 feeds the watchdog for a child that has no beats: the
// prepare-root of stage 2.
const alone = 5 * time.Minute

// reapUntil collects ended children, our own and orphans, until pid is among
// them. Meanwhile it hears the child's beats; without any, beats is -1.
func (c Config) reapUntil(pid, beats int) syscall.WaitStatus {
	started := time.Now()
	wait := time.Second // for orphans
	ended, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(ended)
	} else { // Linux before 5.3
		ended, wait = -1, 20*time.Millisecond
	}
	events := []unix.PollFd{{Fd: int32(ended), Events: unix.POLLIN}, {Fd: int32(beats), Events: unix.POLLIN}}
	for {
		if status, ok := collect(pid); ok {
			return status
		}
		unix.Poll(events, int(wait.Milliseconds())) // an error is a wait that was short
		switch happened := events[1].Revents; {
		case beats == -1 && time.Since(started) < alone:
			c.dog.feed()
		case happened&unix.POLLIN != 0:
			c.dog.hear(beats)
		case happened != 0: // closed
			events[1].Fd = -1
		}
	}
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

// Environment is what the children and the shell of PID 1 get, whatever the
// kernel made of unknown parameters. TERM is for whoever opens a terminal.
func Environment() []string {
	return []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/"}
}
