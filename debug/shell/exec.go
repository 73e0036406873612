package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"netstage/debug/internal/waitfd"
)

// applet marks a name that is to be an applet although the interpreter believes
// that it is a builtin.
const applet = "applet\x00"

// call sees every simple command first. The interpreter takes kill, help and
// others for builtins and doesn't have them; its wait, and its read from a
// terminal, can't be interrupted.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	if replace, ok := s.Replace[args[0]]; ok && (args[0] != "exec" || len(args) > 1) {
		hc := interp.HandlerCtx(ctx)
		fmt.Fprintf(hc.Stderr, "%s: %v\n", args[0], replace(args[1:], environ(hc.Env)))
		return []string{"false"}, nil
	}
	switch args[0] {
	case "kill", "help":
		if s.isApplet(args[0]) {
			args = slices.Clone(args)
			if args[0] == "kill" {
				s.jobArgs(args)
			}
			args[0] = applet + args[0]
		}
	case "echo":
		hc := interp.HandlerCtx(ctx)
		if _, err := io.WriteString(hc.Stdout, echo(args[1:])); err != nil {
			var errno syscall.Errno
			if errors.As(err, &errno) && errno != unix.EPIPE {
				fmt.Fprintf(hc.Stderr, "echo: %v\n", errno)
			}
			return []string{"false"}, nil
		}
		return []string{"true"}, nil
	case "wait":
		if len(args) == 1 {
			s.waitJobs(ctx)
			return []string{"true"}, nil
		}
	case "read":
		if s.tty == nil || interp.HandlerCtx(ctx).Stdin != io.Reader(s.stdin) || len(args) > 1 && strings.HasPrefix(args[1], "-") && args[1] != "-r" {
			break // with -p it must show its prompt first
		}
		if err := waitfd.Readable(ctx, int(s.stdin.Fd())); err != nil {
			return []string{"false"}, nil
		}
	case "jobs":
		s.listJobs(interp.HandlerCtx(ctx).Stdout)
		return []string{"true"}, nil
	case "fg", "bg", "suspend":
		fmt.Fprintf(interp.HandlerCtx(ctx).Stderr, "%s: no job control here; kill %%N ends a background job\n", args[0])
		return []string{"false"}, nil
	}
	return args, nil
}

// echo is the text of the command, to be written at once: the interpreter
// writes word by word, and each would be a record of /dev/kmsg, or a command of
// a file in /sys.
func echo(args []string) string {
	end, escapes := "\n", false
	for ; len(args) > 0 && slices.Contains([]string{"-n", "-e", "-E"}, args[0]); args = args[1:] {
		switch args[0] {
		case "-n":
			end = ""
		case "-e":
			escapes = true
		}
	}
	text := strings.Join(args, " ")
	if escapes {
		text, _, _ = expand.Format(nil, text, nil) // what is no escape stays as it is
	}
	return text + end
}

func (s *shell) isApplet(name string) bool { return slices.Contains(s.Applets, name) }

// exec runs one command as a process and waits for it.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	name := strings.TrimPrefix(args[0], applet)
	path := s.Exe
	if s.Exe == "" || !s.isApplet(name) {
		var err error
		if path, err = interp.LookPathDir(hc.Dir, hc.Env, name); err != nil {
			fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", name)
			return interp.ExitStatus(127)
		}
	}
	g, ok := ctx.Value(groupKey{}).(*group)
	if !ok {
		g = &group{ctx: ctx}
	}

	build := func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, path)
		cmd.Args = append([]string{name}, args[1:]...)
		cmd.Env = environ(hc.Env)
		cmd.Dir = hc.Dir
		cmd.Stdin, cmd.Stdout, cmd.Stderr = hc.Stdin, hc.Stdout, hc.Stderr
		cmd.Cancel = func() error {
			g.signal(unix.SIGINT)
			return cmd.Process.Signal(unix.SIGTERM)
		}
		cmd.WaitDelay = killAfter
		return cmd
	}

	s.procs.Add(1)
	defer s.procs.Done()
	cmd, err := g.start(build)
	if err != nil {
		return s.startError(hc, name, path, err)
	}
	err = cmd.Wait()
	g.ended()

	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit):
		status, _ := exit.Sys().(syscall.WaitStatus)
		if !status.Signaled() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return interp.ExitStatus(exit.ExitCode())
		}
		if g.tty != nil && status.Signal() == unix.SIGINT {
			g.cancel(errInterrupt) // the rest of the line was meant too
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if status.Signal() != unix.SIGPIPE {
			fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", name, status.Signal())
		}
		return interp.ExitStatus(128 + status.Signal())
	case ctx.Err() != nil:
		return ctx.Err()
	}
	fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", name, err)
	return interp.ExitStatus(126)
}

// startError says why a command could not be started, and what that often
// means.
func (s *shell) startError(hc interp.HandlerContext, name, path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOENT):
		hint = " (its interpreter or loader is missing)"
	case errors.Is(err, unix.ENOEXEC):
		hint = " (another architecture, or a script without #!: try sh " + path + ")"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	fmt.Fprintf(hc.Stderr, "sh: %s: %s: %v%s\n", name, path, err, hint)
	return interp.ExitStatus(126)
}

// environ is the exported variables.
func environ(env expand.Environ) []string {
	vars := map[string]string{}
	for name, v := range env.Each {
		if !v.IsSet() || !v.Exported || v.Kind != expand.String {
			delete(vars, name)
			continue
		}
		vars[name] = v.String()
	}
	list := make([]string, 0, len(vars))
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
