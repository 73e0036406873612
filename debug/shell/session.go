package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Session starts exe with argv[0] "sh" and the given arguments in a session of
// its own, with the terminal tty as controlling terminal and standard files,
// and waits for it. The status of a shell that died of a signal is 128 and the
// signal's number. When the context ends the shell is hung up, and killed two
// seconds later.
//
// When a session leader exits, the kernel hangs up its terminal, unless that is
// a pty, for everybody who has it open by its own name: descriptors of tty are
// dead afterwards, those of /dev/console are not (drivers/tty/tty_jobctrl.c,
// disassociate_ctty; tty_io.c, __tty_hangup). A console.TTY
// opens its device again by itself.
func Session(ctx context.Context, tty, exe string, args, env []string) (exit int, err error) {
	fd, err := unix.Open(tty, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 1, fmt.Errorf("shell on %s: open: %w", tty, err)
	}
	f := os.NewFile(uintptr(fd), tty)
	defer f.Close()
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return 1, fmt.Errorf("shell on %s: not a terminal: %w", tty, err)
	}

	cmd := exec.CommandContext(ctx, exe)
	cmd.Args = append([]string{"sh"}, args...)
	cmd.Env = env
	if !has(cmd.Env, "TERM") {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "TERM="+termOf(tty))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGHUP) }
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Run()
	restore(tty, modes)

	var exitErr *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		return 1, fmt.Errorf("shell on %s: %w", tty, ctx.Err())
	case errors.As(err, &exitErr):
		if status, ok := exitErr.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exitErr.ExitCode(), nil
	}
	return 1, fmt.Errorf("shell on %s: %w", tty, err)
}

// restore gives a terminal its modes back. It is opened anew: see Session.
func restore(tty string, modes *unix.Termios) {
	fd, err := unix.Open(tty, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, modes)
	_ = unix.Close(fd)
}

// ttyName is the device behind a terminal's file, or "".
func ttyName(f *os.File) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return ""
	}
	return name
}

// termOf is the terminal type behind a device: the kernel's own on a screen,
// and what every serial terminal program understands elsewhere.
func termOf(tty string) string {
	n := strings.TrimPrefix(tty, "/dev/tty")
	if n != tty && n != "" && n[0] >= '0' && n[0] <= '9' {
		return "linux"
	}
	return "vt220"
}
