// Package shell is the agent's sh: mvdan.cc/sh's interpreter with line editing
// on a terminal, utilities as processes of their own, and Ctrl-C that ends the
// command and not the shell.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// DefaultPath is PATH where the environment has none.
const DefaultPath = "/bin:/sbin:/usr/bin:/usr/sbin:/run/current-system/sw/bin"

// Options says what to run and on what.
type Options struct {
	// Args are the arguments after the name: nothing (read standard input,
	// interactively on a terminal), -c COMMAND [NAME [ARG...]], or FILE
	// [ARG...].
	Args []string
	// Stdin, Stdout and Stderr; default those of the process.
	Stdin, Stdout, Stderr *os.File
	// Env is the environment, NAME=value; default that of the process.
	Env []string
	// Dir is where to begin; default the process's directory.
	Dir string
	// Exe is the binary that runs as an applet when it is started with an
	// applet's name as argv[0], for example /proc/self/exe.
	Exe string
	// Applets are the names Exe answers to. They go before PATH.
	Applets []string
	// Replace are commands that are given arguments and environment to replace
	// this process, and return only when that failed. Exec without a command
	// stays the interpreter's.
	Replace map[string]func(args, env []string) error
	// Words are what may follow a command and some arguments, for the line
	// editor; nil or none: files.
	Words func(command string, args []string) []string
	// Prompt goes before the directory in the prompt, for example "stage-1".
	Prompt string
	// Greeting is written before the first prompt.
	Greeting string
}

const usage = "usage: sh [-c COMMAND [NAME [ARG...]] | FILE [ARG...]]\n"

// Run runs the shell and returns its exit status: that of exit, or of the last
// command. An error means that the shell itself could not do its work; it comes
// with a status that is not 0. Nothing it started is left when it returns: what
// runs in the background of an interactive shell is ended, as when a terminal
// goes away, and of a script waited for. What even a SIGKILL does not end
// stays.
//
// On a terminal it should be the only user of the process's signals.
func Run(ctx context.Context, o Options) (exit int, err error) {
	s, err := newShell(o)
	if err != nil {
		return 2, fmt.Errorf("sh: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.waitForProcesses()
	defer func() {
		if s.tty == nil && ctx.Err() == nil {
			s.procs.Wait() // what a script left running is part of its work
		}
		cancel()
	}()

	args := o.Args
	switch {
	case len(args) > 0 && args[0] == "-c":
		if len(args) < 2 {
			fmt.Fprint(s.stderr, usage)
			return 2, nil
		}
		if len(args) > 3 {
			s.option(interp.Params(append([]string{"--"}, args[3:]...)...))
		}
		return s.script(ctx, strings.NewReader(args[1]), "sh"), nil
	case len(args) > 0 && args[0] != "-" && args[0] != "-i" && args[0] != "-s":
		if strings.HasPrefix(args[0], "-") {
			fmt.Fprint(s.stderr, usage)
			return 2, nil
		}
		f, err := os.Open(args[0])
		if err != nil {
			fmt.Fprintf(s.stderr, "sh: %v\n", err)
			return 127, nil
		}
		defer f.Close()
		s.option(interp.Params(append([]string{"--"}, args[1:]...)...))
		return s.script(ctx, f, args[0]), nil
	case !term.IsTerminal(int(s.stdin.Fd())):
		return s.loop(ctx, &lineReader{in: s.stdin}), nil
	}
	return s.interactive(ctx, o.Greeting)
}

// waitForProcesses waits for those told to end, but not for a process that the
// kernel holds, for a disk that does not answer.
func (s *shell) waitForProcesses() {
	done := make(chan struct{})
	go func() {
		s.procs.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(3 * killAfter):
	}
}

// shell is one running sh.
type shell struct {
	Options
	stdin, stdout, stderr *os.File

	runner *interp.Runner
	parser *syntax.Parser
	status int  // of the last command
	exited bool // by the exit builtin

	jobControl      // nothing in it but on a terminal
	procs      wait // processes and background jobs
}

func newShell(o Options) (*shell, error) {
	s := &shell{Options: o, stdin: o.Stdin, stdout: o.Stdout, stderr: o.Stderr, parser: syntax.NewParser()}
	if s.stdin == nil {
		s.stdin = os.Stdin
	}
	if s.stdout == nil {
		s.stdout = os.Stdout
	}
	if s.stderr == nil {
		s.stderr = os.Stderr
	}
	env := o.Env
	if env == nil {
		env = os.Environ()
	}
	for _, kv := range []string{"PATH=" + DefaultPath, "HOME=/", "TERM=" + termOf(ttyName(s.stdin))} {
		if name, _, _ := strings.Cut(kv, "="); !has(env, name) {
			env = append(env, kv)
		}
	}
	r, err := interp.New(
		interp.Env(expand.ListEnviron(env...)),
		interp.Dir(o.Dir),
		interp.StdIO(s.stdin, s.stdout, s.stderr),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
	)
	if err != nil {
		return nil, err
	}
	s.runner = r
	return s, nil
}

func has(env []string, name string) bool {
	for _, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

// option applies an option that can't fail with the arguments it is given.
func (s *shell) option(o interp.RunnerOption) {
	if err := o(s.runner); err != nil {
		fmt.Fprintf(s.stderr, "sh: %v\n", err)
	}
}

// script parses all of r and runs it.
func (s *shell) script(ctx context.Context, r io.Reader, name string) int {
	file, err := s.parser.Parse(r, name)
	if err != nil {
		fmt.Fprintf(s.stderr, "%v\n", err)
		return 2
	}
	s.run(ctx, file.Stmts)
	return s.exit(ctx)
}

// run runs statements until one exits the shell.
func (s *shell) run(ctx context.Context, stmts []*syntax.Stmt) {
	for _, st := range stmts {
		if s.exited || ctx.Err() != nil {
			return
		}
		if st.Background {
			s.background(ctx, st)
			continue
		}
		if interrupted := s.foreground(ctx, st); interrupted {
			return // the rest of the line was meant too
		}
	}
}

// foreground runs one statement, waits for it and says whether Ctrl-C ended it.
func (s *shell) foreground(ctx context.Context, st *syntax.Stmt) (interrupted bool) {
	g := s.newGroup(ctx)
	err := s.runner.Run(g.ctx, st)
	interrupted = s.finish(g)
	var status interp.ExitStatus
	switch {
	case interrupted && ctx.Err() == nil:
		s.status = 130
		s.remember(ctx)
		return true // Exited is set, for the interpreter was stopped in the middle
	case err == nil:
		s.status = 0
	case errors.As(err, &status):
		s.status = int(status)
	case ctx.Err() != nil:
		s.status = statusHangup
	default:
		s.status = 1
		fmt.Fprintf(s.stderr, "sh: %v\n", err)
		return false // a fault of one statement doesn't take the shell away
	}
	s.exited = s.runner.Exited()
	return false
}

// remember makes $? what s.status says.
func (s *shell) remember(ctx context.Context) {
	file, err := s.parser.Parse(strings.NewReader(fmt.Sprintf("(exit %d)", s.status)), "")
	if err == nil {
		_ = s.runner.Run(ctx, file.Stmts[0]) // its status is its purpose
	}
}

// exit runs the EXIT trap, as the end of a whole file does, and returns the
// shell's status.
func (s *shell) exit(ctx context.Context) int {
	if !s.exited && ctx.Err() == nil {
		_ = s.runner.Run(ctx, &syntax.File{})
	}
	return s.status
}
