package pid1

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// A child is a process of this program that says what is to be done next.
type child struct {
	pid        int
	name       string // argv[0]
	ended      int    // its pidfd; -1 before Linux 5.3
	verdict    int    // a pipe from its descriptor 3
	heartbeats int    // a pipe from its descriptor 4; -1 where it has none
	text       []byte // of the verdict, as far as it was read
}

// child runs this binary under the name argv[0] and returns its verdict, or
// how it ended without one. Where memory is given the child has it as
// descriptor 5.
func (c Config) child(argv []string, memory *int) (Verdict, *Crash) {
	if c.NoFlowControl != nil {
		c.restore = c.NoFlowControl()
	}
	ch, err := c.start(argv, memory)
	if err != nil {
		return Verdict{}, &Crash{fault.Exec, fmt.Sprintf("start %s as %s: %v", c.Exe, argv[0], err)}
	}
	verdict, crash := c.outcome(ch)
	if crash != nil {
		// Above all its shell, which would take the operator's keys.
		killOthers()
	}
	return verdict, crash
}

// outcome waits for a child's end. Its verdict may have come with that.
func (c Config) outcome(ch *child) (verdict Verdict, crash *Crash) {
	defer ch.close()
	status, silent := c.attend(ch)
	crash = ch.crash(status, silent, &verdict)
	return verdict, crash
}

// start starts Exe with pipes as descriptors 3 and 4. Its console does not
// block: not even the trace of a panic may wait for a terminal.
//
// wait4(-1) steals nobody's status here: this process starts no other child
// meanwhile, and os/exec is not used in it at all.
func (c Config) start(argv []string, memory *int) (*child, error) {
	var verdict, heartbeats [2]int
	if err := unix.Pipe2(verdict[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	defer unix.Close(verdict[1])
	if err := unix.Pipe2(heartbeats[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		unix.Close(verdict[0])
		return nil, err
	}
	defer unix.Close(heartbeats[1])
	openConsole(unix.O_NONBLOCK)
	exe := c.Exe
	if _, err := os.Stat(exe); err != nil || memory != nil {
		exe = "/proc/self/exe" // the initramfs has been emptied
	}
	files := []uintptr{0, 1, 2, uintptr(verdict[1]), uintptr(heartbeats[1])}
	if memory != nil {
		files = append(files, uintptr(*memory))
	}
	ch := &child{name: argv[0], verdict: verdict[0], heartbeats: heartbeats[0], ended: -1}
	var err error
	if ch.pid, err = syscall.ForkExec(exe, argv, &syscall.ProcAttr{Env: Environment(), Files: files}); err != nil {
		ch.close()
		return nil, err
	}
	ch.ended = openPID(ch.pid)
	return ch, nil
}

// openPID opens a process; -1 before Linux 5.3.
func openPID(pid int) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	return fd
}

func (ch *child) close() {
	for _, fd := range []int{ch.ended, ch.verdict, ch.heartbeats} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// read reads what has come of the verdict and reports whether it is whole: one
// line. Not until end of file: an orphan may hold the other end for ever.
func (ch *child) read() bool {
	for len(ch.text) < maxVerdict {
		part := make([]byte, 4096)
		n, err := unix.Read(ch.verdict, part)
		if err != nil || n <= 0 {
			break
		}
		ch.text = append(ch.text, part[:n]...)
	}
	return len(ch.text) > 0 && ch.text[len(ch.text)-1] == '\n'
}

// crash reads the verdict, or says how the child ended without one. A verdict
// that is whole counts, however the child ended after it.
func (ch *child) crash(status syscall.WaitStatus, silent bool, verdict *Verdict) *Crash {
	whole := ch.read()
	err := json.Unmarshal(ch.text, verdict)
	switch {
	case whole && err == nil:
		return nil
	case silent:
		return &Crash{fault.StepTimeout, ch.name + " showed no sign of life any more, and was killed"}
	case status.Signaled():
		return &Crash{fault.Killed, fmt.Sprintf("%s was killed by signal %d (%s)", ch.name, status.Signal(), status.Signal())}
	case status.ExitStatus() == 2:
		// How the Go runtime ends a program that panics.
		return &Crash{fault.Panicked, ch.name + " panicked; its trace is on the console"}
	case status.ExitStatus() != 0:
		return &Crash{fault.Killed, fmt.Sprintf("%s exited with status %d", ch.name, status.ExitStatus())}
	case err == nil:
		err = errUnfinished
	}
	return &Crash{fault.Killed, fmt.Sprintf("%s left no verdict: %v", ch.name, err)}
}

// Environment is what the children and the shell of PID 1 get, whatever the
// kernel made of unknown parameters. TERM is for whoever opens a terminal.
func Environment() []string {
	return []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/"}
}
