// Package bootcmd is the shell's "boot": where the boot stands, and the way
// back to an earlier step. It knows of the boot what that leaves in files, so
// that it works in every shell, also after the boot's death.
package bootcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netstage/stage1"
)

// Options says where things are. The zero value is the machine.
type Options struct {
	Run   string // the boot's files; default /run/netstage
	Proc  string // default /proc
	Kmsg  string // default /dev/kmsg
	Width int    // columns of the terminal; 0: there is none
}

const usage = `usage: boot COMMAND
  status       where the boot stands, its steps with their times, what failed
  retry [STEP] leave the shell and go back to STEP, or run the failed step again
  net          the network cards and what they do
  fetch        the download and its mirrors
  log [-a] [-l LEVEL] the kernel log with priorities; -a: the agent's lines only,
               -l: up to LEVEL, a number from 0 or a name as err or warning
  report       the boot report, as JSON
-f after status, net, fetch or log follows until Ctrl-C.
`

// Complete lists what may follow "boot" and further words, for the line editor.
func Complete(words []string) []string {
	switch {
	case len(words) == 0:
		return []string{"fetch", "log", "net", "report", "retry", "status"}
	case words[0] == "retry" && len(words) == 1:
		return stage1.StepNames()
	}
	return nil
}

// Main runs the command with arguments after the name, and returns the exit
// status.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer, o Options) int {
	if o.Run == "" {
		o.Run = "/run/netstage"
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	err := o.run(ctx, args, stdout)
	var wrong usageError
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "boot: %v\n%s", err, usage)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "boot: %v\n", err)
		return 1
	}
	return 0
}

type usageError string

func (e usageError) Error() string { return string(e) }

func (o Options) run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return usageError("which command?")
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	name, args := args[0], args[1:]
	if name == "retry" {
		if len(args) > 1 {
			return usageError("one step at most")
		}
		return o.retry(ctx, strings.Join(args, ""), stdout)
	}
	if name == "log" {
		return o.log(ctx, args, stdout)
	}
	views := map[string]func() (string, error){"status": o.status, "net": o.net, "fetch": o.fetch, "report": o.report}
	view, ok := views[name]
	if !ok {
		return usageError(fmt.Sprintf("there is no %q", name))
	}
	follow := slices.Equal(args, []string{"-f"}) && name != "report"
	if len(args) > 0 && !follow {
		return usageError(fmt.Sprintf("%s takes no %q", name, strings.Join(args, " ")))
	}
	if follow {
		return o.follow(ctx, view, stdout)
	}
	text, err := view()
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// follow shows a view every second: on a terminal in the same place, elsewhere
// when it has changed.
func (o Options) follow(ctx context.Context, view func() (string, error), stdout io.Writer) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for shown := ""; ; {
		text, err := view()
		if err != nil {
			return err
		}
		if text != shown {
			over := ""
			if o.Width > 0 && shown != "" {
				over = fmt.Sprintf("\x1b[%dA\x1b[J", strings.Count(shown, "\n"))
			}
			if _, err := io.WriteString(stdout, over+text); err != nil {
				return err
			}
			shown = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// width is that of the lines to write.
func (o Options) width() int {
	if o.Width == 0 {
		return 100
	}
	return max(o.Width, 40)
}

func (o Options) read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(o.Run, name)) }

// An actor is the process that does the boot's work.
type actor string

const (
	boot   actor = "boot"
	rescue actor = "rescue" // after the boot's death
	nobody actor = ""       // PID 1 has become a shell
)

// inCharge finds the child of PID 1 that is in charge.
func (o Options) inCharge() actor {
	found, _ := filepath.Glob(o.Proc + "/[0-9]*/stat") // none: nobody
	for _, file := range found {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; the name may hold anything
		// (proc_pid_stat(5))
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		argv, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || len(fields) < 2 || fields[1] != "1" || fields[0] == "Z" {
			continue
		}
		words := strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00")
		switch {
		case words[0] == string(boot) && len(words) == 1: // with arguments it is this command in PID 1's shell
			return boot
		case words[0] == string(rescue):
			return rescue
		}
	}
	return nobody
}
