package shell

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// interactive runs the shell on a terminal.
func (s *shell) interactive(ctx context.Context, greeting string) (int, error) {
	tty, err := takeTerminal(int(s.stdin.Fd()))
	if err != nil {
		return 2, fmt.Errorf("sh: %w", err)
	}
	defer tty.restore()
	s.tty = tty

	// SIGTTOU would stop the shell when it takes the terminal back from a
	// command. The others are for the command; what they reach when none runs
	// is the interpreter.
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	ctx, release := signal.NotifyContext(ctx, unix.SIGHUP, unix.SIGTERM)
	defer release()
	stop := s.catch(unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP)
	defer stop()

	if !tty.ours {
		fmt.Fprintln(s.stderr, "sh: not my terminal: Ctrl-C will not reach commands")
	}
	if greeting != "" {
		fmt.Fprintln(s.stdout, greeting)
	}
	return s.loop(ctx, &editor{in: s.stdin, out: s.stdout, raw: tty.raw, complete: s.complete}), nil
}

// catch lets signals end the running command instead of the shell.
func (s *shell) catch(sigs ...os.Signal) (stop func()) {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, sigs...)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case sig := <-ch:
				if sig == unix.SIGINT {
					s.interrupt()
				}
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(ch)
		close(done)
		wg.Wait()
	}
}

// terminal is the shell's terminal: its modes, and who is in the foreground.
type terminal struct {
	fd    int
	pgrp  int // the shell's process group
	ours  bool
	saved unix.Termios
}

// takeTerminal makes fd the shell's controlling terminal where that is
// possible: it already is, or the shell is, or can become, the leader of a
// session without one, as PID 1 is.
func takeTerminal(fd int) (*terminal, error) {
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("terminal modes: %w", err)
	}
	t := &terminal{fd: fd, saved: *saved}
	if !isControlling(fd) {
		_, _ = unix.Setsid() // refused to a group leader, which may be a session leader already
		_ = unix.IoctlSetInt(fd, unix.TIOCSCTTY, 0)
	}
	t.ours = isControlling(fd)
	t.pgrp = unix.Getpgrp()
	if t.ours {
		t.toForeground()
	}
	return t, nil
}

// isControlling says whether fd is the controlling terminal of this process's
// session.
func isControlling(fd int) bool {
	sid, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	owner, err := unix.IoctlGetInt(fd, unix.TIOCGSID)
	return err == nil && owner == sid
}

// toForeground puts the shell's own process group into the foreground.
func (t *terminal) toForeground() {
	if t.ours {
		_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.pgrp) // fails only when the terminal is gone
	}
}

// raw is the mode of the line editor. Output stays cooked: others write too.
func (t *terminal) raw() error {
	m := t.saved
	m.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	m.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	m.Oflag |= unix.OPOST | unix.ONLCR
	m.Cc[unix.VMIN], m.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(t.fd, unix.TCSETS, &m)
}

// cooked is the mode of commands. Ctrl-Z does nothing: nobody could continue
// what it stops.
func (t *terminal) cooked() {
	m := t.saved
	m.Iflag |= unix.ICRNL | unix.BRKINT
	m.Iflag &^= unix.IGNCR | unix.INLCR
	m.Lflag |= unix.ICANON | unix.ISIG | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN
	m.Oflag |= unix.OPOST | unix.ONLCR
	m.Cc[unix.VINTR], m.Cc[unix.VEOF], m.Cc[unix.VERASE], m.Cc[unix.VKILL] = ctrlC, 4, 0x7f, 21
	m.Cc[unix.VSUSP] = 0
	_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, &m) // fails only when the terminal is gone
}

func (t *terminal) restore() {
	_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, &t.saved)
}
