package pid1

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// run starts Exe under the name argv[0] with a pipe as descriptor 3, reaps
// whatever ends until the child does, and returns what it wrote there.
//
// wait4(-1) steals nobody's status here: this process starts no other child
// meanwhile, and os/exec is not used in it at all.
func (c Config) run(argv []string) ([]byte, syscall.WaitStatus, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, 0, err
	}
	defer unix.Close(pipe[0])
	openConsole()
	exe := c.Exe
	if _, err := os.Stat(exe); err != nil {
		exe = "/proc/self/exe" // the initramfs has been emptied
	}
	pid, err := syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Env:   Environment(),
		Files: []uintptr{0, 1, 2, uintptr(pipe[1])},
	})
	unix.Close(pipe[1])
	if err != nil {
		return nil, 0, err
	}
	status := reapUntil(pid)

	// Not until end of file: an orphan may hold the other end for ever.
	verdict := make([]byte, 64<<10)
	n, err := unix.Read(pipe[0], verdict)
	if err != nil || n < 0 {
		n = 0
	}
	return verdict[:n], status, nil
}

// reapUntil collects ended children, our own and orphans, until pid is among
// them.
func reapUntil(pid int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.EINTR:
		case err != nil:
			// ECHILD: somebody else has collected it. Nothing tells how it
			// ended; no verdict will be found.
			return status
		case ended == pid && (status.Exited() || status.Signaled()):
			return status
		}
	}
}

// Environment is what the children and the shell of PID 1 get, whatever the
// kernel made of unknown parameters.
func Environment() []string {
	return []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=linux"}
}
