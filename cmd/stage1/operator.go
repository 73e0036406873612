package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"netstage/debug"
	"netstage/debug/console"
	"netstage/debug/kmsg"
	"netstage/debug/shell"
	"netstage/stage1"
	"netstage/stage1/bootcount"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/network"
	"netstage/stage1/pid1"
	"netstage/stage1/step"
)

// operator is whoever sits at the console, or nobody.
type operator struct {
	log      *journal
	password *debug.PasswordPrompt
	remote   *remote
	last     bool // nothing can be started any more
}

func newOperator(log *journal) operator {
	return operator{log: log, password: &debug.PasswordPrompt{Log: log.Logger}, remote: newRemote(log.Logger)}
}

// lookAround offers a shell at a breakpoint. Leaving it with status 0 goes
// on; any other status leads to the menu, and from there back.
func (o operator) lookAround(ctx context.Context, c config.Config, s step.Step) fault.Choice {
	for {
		o.log.Info(fmt.Sprintf(`breakpoint before step "%s" (%s): %s; "exit 0" runs it and goes on, "exit 1" opens the menu`, s.Name, s.Title, s.StateBefore))
		cause := fmt.Sprintf("nobody gave the password for the shell before step %s", s.Name)
		if o.admit(ctx, c) {
			status := o.shell(ctx, c)
			if status == 0 || ctx.Err() != nil {
				return ""
			}
			cause = fmt.Sprintf("the shell before step %s was left with status %d", s.Name, status)
		}
		c.ShellOnFail = true // whoever may stop here may have a shell
		switch choice := o.rescue(ctx, c, fault.Failure{Class: fault.Breakpoint, Step: s.Name, Cause: cause, Next: s.Name, Network: leftLinks}); choice {
		case fault.Retry:
		case fault.Continue:
			return ""
		default:
			return choice
		}
	}
}

// rescue shows the failure on every console and asks what to do.
func (o operator) rescue(ctx context.Context, c config.Config, f fault.Failure) fault.Choice {
	o.log.screen.SetStatus("")
	screen := o.screenOf(ctx, f)
	var count bootcount.Count
	timeout := c.FailTimeout
	if f.Class != fault.Breakpoint {
		count = o.recall(ctx)
		screen.Earlier, timeout = count.Words(), bootcount.RebootDelay(timeout, count.Before)
		o.log.forTheKernelLog(debug.Compact(screen))
	}
	for {
		switch o.menu(ctx, c, screen, timeout) {
		case fault.Retry:
			return fault.Retry
		case fault.Continue:
			return fault.Continue
		case fault.ShellPID1:
			if o.admit(ctx, c) {
				return fault.ShellPID1
			}
		case fault.Shell:
			if o.admit(ctx, c) && o.shell(ctx, c) == 0 {
				return fault.Retry
			}
		case fault.GiveUp:
			if err := count.Grow(ctx); err != nil {
				o.log.Warn("the next boot will not know of this one", "err", err)
			}
			return fault.Reboot
		default:
			if ctx.Err() != nil { // somebody asked to go back
				return fault.Retry
			}
			return fault.Reboot
		}
	}
}

// kernelNews picks what the kernel said while the agent was at work, and of
// what it said before that the warnings.
func kernelNews() func(kmsg.Record) bool {
	began := false
	return func(r kmsg.Record) bool {
		began = began || strings.HasPrefix(r.Text, tag)
		return kmsg.FromKernel(r) && (began || r.Priority <= kmsg.PrioWarning)
	}
}

// recall asks the firmware for what it remembers of earlier boots. One that
// can't say is as good as none.
func (o operator) recall(ctx context.Context) bootcount.Count {
	count, err := bootcount.Recall(ctx)
	if err != nil {
		o.log.Warn("failed boots in a row are not counted", "err", err)
	}
	return count
}

// screenOf is f with the logs, as the screen shows it.
func (o operator) screenOf(ctx context.Context, f fault.Failure) fault.Failure {
	f.Facts = append(slices.Clone(f.Facts), fault.Fact{Title: "SSH", Lines: o.remote.where()})
	const enough = 12
	for _, line := range o.log.last(ctx, 5*enough) {
		if !strings.HasSuffix(line, ": "+f.Cause) && !aboutFailure(line) { // which is on the screen already
			f.Agent = append(f.Agent, line)
		}
	}
	f.Agent = f.Agent[max(0, len(f.Agent)-enough):]
	f.Kernel, _ = kmsg.Last(ctx, "", enough, kernelNews()) // none: there is less to see
	return f
}

// menu asks what to do about f, and waits for a key as long as timeout.
func (o operator) menu(ctx context.Context, c config.Config, f fault.Failure, timeout time.Duration) fault.Choice {
	options := debug.Options{
		Failure: f, AllowShell: c.ShellOnFail && !o.last, Hold: o.remote.loggedIn, Timeout: timeout, Idle: 10 * c.FailTimeout, Log: o.log.Logger, Final: o.last,
		KernelLog: func(ctx context.Context, w io.Writer) error { return kmsg.Tail(ctx, w, kmsg.TailOptions{}) },
		AgentLog:  o.log.page,
	}
	if f.Class == fault.Breakpoint {
		options.Again = "the shell again"
	}
	keys := consolePath(c.Console)
	paths := consolePaths(keys)
	if _, err := os.Stat(keys); err != nil && len(paths) == 1 {
		keys, paths = "/dev/console", []string{"/dev/console"} // nobody knows of any, but the kernel
	}
	for _, path := range paths {
		tty, err := console.Open(path)
		if err != nil {
			o.log.Warn("no failure screen there", "err", err)
			continue
		}
		defer tty.Close()
		options.Consoles = append(options.Consoles, tty)
		tty.Identify(ctx)
		if path == keys {
			options.Keys = tty
			options.Width, options.Height = tty.Size()
		}
	}
	restore, err := o.log.printing.Hush()
	if err != nil {
		o.log.Warn("what the kernel logs may cover the screen", "err", err)
	}
	choice, err := debug.Menu(ctx, options)
	if err := restore(); err != nil {
		o.log.Warn("the kernel prints less than before", "err", err)
	}
	if err != nil && ctx.Err() == nil {
		o.log.Error("failure menu", "err", err)
	}
	return choice
}

// shell runs the shell in a session of its own on the interactive console and
// returns its exit status.
func (o operator) shell(ctx context.Context, c config.Config) int {
	path := consolePath(c.Console)
	if tty, err := console.Open(path); err == nil { // else the session tells
		tty.Identify(ctx)
		tty.Close()
	}
	status, err := shell.Session(ctx, path, "/proc/self/exe", nil, pid1.Environment())
	if err != nil && ctx.Err() == nil {
		o.log.Error("shell on "+path, "err", err)
		return 1
	}
	return status
}

// leftLinks is the table of links as a boot has left it.
func leftLinks(width int) []string { return network.Left("/", width) }

// commandLine is the configuration for those who come before or after the
// step "config". What is wrong with it, that step tells.
func commandLine() config.Config {
	c, _ := stage1.LoadConfig()
	return c
}

// consolePath is the device of the interactive console.
func consolePath(want string) string {
	if name, ok := console.Interactive(consoles(), want); ok {
		return name.Path()
	}
	return "/dev/console"
}

// consolePaths are the devices of all consoles, with the one for keys. Some
// have none: what netconsole sends is the kernel log, and the failure is there.
func consolePaths(keys string) []string {
	paths := []string{keys}
	for _, name := range consoles() {
		if name.Path() != keys && name.Major != 0 {
			paths = append(paths, name.Path())
		}
	}
	return paths
}

func consoles() []console.Name {
	file, err := os.Open("/proc/consoles")
	if err != nil {
		return nil
	}
	defer file.Close()
	return console.List(file)
}
