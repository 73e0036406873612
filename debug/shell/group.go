package shell

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wait counts what must end before the shell returns.
type wait = sync.WaitGroup

// killAfter is how long a command may take to die of a polite signal.
const killAfter = 2 * time.Second

type groupKey struct{}

// group is the processes of one command line. On a terminal they are one
// process group, and its foreground as long as one of them lives: Ctrl-C
// reaches all of a pipeline and nothing else.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	tty    *terminal // nil: in the background, or no terminal
	apart  bool      // in a process group of its own

	mu   sync.Mutex
	pgid int
	live int // processes running
}

// start starts the command that build makes as one of the group.
func (g *group) start(build func() *exec.Cmd) (*exec.Cmd, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cmd := build()
	if !g.apart {
		return cmd, cmd.Start()
	}
	join := g.live > 0
	cmd.SysProcAttr = g.attr(join)
	err := cmd.Start()
	if join && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ESRCH)) {
		// The last of the group was just reaped, and the group with it.
		join = false
		cmd = build()
		cmd.SysProcAttr = g.attr(join)
		err = cmd.Start()
	}
	if err != nil {
		return cmd, err
	}
	if !join {
		g.pgid = cmd.Process.Pid
	}
	g.live++
	return cmd, nil
}

func (g *group) attr(join bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if join {
		a.Pgid = g.pgid
	}
	if g.tty != nil && g.tty.ours {
		a.Foreground, a.Ctty = true, g.tty.fd
	}
	return a
}

// ended notes the end of a process and takes the terminal back after the last.
func (g *group) ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.apart {
		return
	}
	g.live--
	if g.live == 0 && g.tty != nil {
		g.tty.toForeground()
	}
}

// signal sends sig to the whole group.
func (g *group) signal(sig unix.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.live > 0 && g.pgid > 0 {
		_ = unix.Kill(-g.pgid, sig) // ESRCH: all gone, which is what is wanted
	}
}

// jobControl is what an interactive shell knows about its jobs.
type jobControl struct {
	tty *terminal // nil: not interactive

	mu      sync.Mutex
	current *group // in the foreground
	jobs    []*job
}

// newGroup begins a foreground command line.
func (s *shell) newGroup(ctx context.Context) *group {
	g := &group{tty: s.tty, apart: s.tty != nil}
	ctx, g.cancel = context.WithCancelCause(ctx)
	g.ctx = context.WithValue(ctx, groupKey{}, g)
	s.mu.Lock()
	s.current = g
	s.mu.Unlock()
	if s.tty != nil {
		s.tty.cooked()
	}
	return g
}

// finish ends a command line and says whether it was interrupted.
func (s *shell) finish(g *group) bool {
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
	interrupted := errors.Is(context.Cause(g.ctx), errInterrupt)
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.tty != nil {
		s.tty.toForeground()
	}
	if s.tty != nil && g.live == 0 {
		g.cancel(nil) // else one is left, as of { sleep 9 & }; it ends with the shell
	}
	return interrupted
}

// interrupt stops what runs in the foreground.
func (s *shell) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.cancel(errInterrupt)
	}
}

// devNull is the standard input of background jobs.
func devNull() (*os.File, error) { return os.Open(os.DevNull) }
