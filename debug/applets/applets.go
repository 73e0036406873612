// Package applets is the utilities of the agent's shell: small, with the
// options an operator's fingers know, each a function that runs in a process of
// its own.
package applets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Func is a utility. args[0] is its name. It returns its exit status: 0, 1 for
// a failure, 2 for a wrong usage.
type Func func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Options is what comes from elsewhere.
type Options struct {
	// Wget fetches url to w; nil leaves wget out. An error says what was
	// attempted.
	Wget func(ctx context.Context, url string, w io.Writer) error
	// Extra are more utilities by name, for example ip and modprobe. They go
	// before those of this package.
	Extra map[string]Func
}

// Table is every utility by name.
func Table(o Options) map[string]Func {
	table := map[string]Func{}
	for name, c := range commands(o) {
		table[name] = c.fn()
	}
	maps.Copy(table, o.Extra)
	table["which"] = command{
		usage: "which NAME...", about: "tell where programs are",
		run: whichFunc(func(name string) bool { return table[name] != nil }),
	}.fn()
	names := append(slices.Collect(maps.Keys(table)), "help")
	slices.Sort(names)
	table["help"] = command{
		usage: "help", about: "list the utilities; NAME --help tells about one",
		run: func(c *call) error {
			fmt.Fprintf(c.out, "Utilities (NAME --help tells more):\n")
			line := " "
			for _, name := range names {
				if len(line)+1+len(name) > 78 {
					fmt.Fprintln(c.out, line)
					line = " "
				}
				line += " " + name
			}
			fmt.Fprintln(c.out, line)
			return nil
		},
	}.fn()
	return table
}

// commands is the table of this package's own utilities.
func commands(o Options) map[string]command {
	all := map[string]command{
		"cat":       {"cat [FILE...]", "write files, or standard input, to standard output", "", runCat},
		"chroot":    {"chroot DIR [COMMAND [ARG...]]", "run a command, /bin/sh by default, with another root", "+", runChroot},
		"clear":     {"clear", "clear the screen", "", runClear},
		"cp":        {"cp [-afpr] SOURCE... DEST", "copy files; -r or -a: folders too", "afprR", runCp},
		"date":      {"date [-s TIME] [+FORMAT]", "show the time in UTC; -s: set it", "us:", runDate},
		"df":        {"df [-h] [PATH...]", "show the space of file systems", "h", runDf},
		"dmesg":     {"dmesg [-w] [-r] [-l LEVEL] [-n LEVEL]", "show the kernel log; -w: follow; -l: up to LEVEL (0-7); -n: what the kernel prints on consoles", "wrl:n:", runDmesg},
		"env":       {"env [NAME=VALUE...] [COMMAND [ARG...]]", "show the environment, or run a command in a changed one", "+", runEnv},
		"find":      {"find [PATH...] [-name GLOB] [-type f|d|l] [-maxdepth N] [-xdev]", "list files", "find", runFind},
		"free":      {"free [-m]", "show memory in KiB; -m: in MiB", "m", runFree},
		"grep":      {"grep [-cinqrvEF] PATTERN [FILE...]", "show the lines that match; -F: as text, not as an expression", "cinqrvEF", runGrep},
		"head":      {"head [-n LINES] [-c BYTES] [FILE...]", "show the beginning", "n:c:", runHead},
		"hexdump":   {"hexdump [-C] [-n BYTES] [-s SKIP] [FILE]", "show bytes", "Cn:s:", runHexdump},
		"kill":      {"kill [-SIGNAL] PID...", "send a signal, TERM by default; a negative PID is a process group", "kill", runKill},
		"less":      {"less [FILE...]", "show page by page; space and b, j and k, g and G, q", "", runLess},
		"ln":        {"ln [-fs] TARGET [NAME]", "make a link; -s: symbolic", "fs", runLn},
		"ls":        {"ls [-1aAdhlnrRt] [PATH...]", "list files; -l: long, -t: newest first, -r: reversed, -R: and below", "1aAdhlnrRt", runLs},
		"lsmod":     {"lsmod", "list the kernel modules that are loaded", "", lsmodFunc("/proc/modules")},
		"lspci":     {"lspci", "list PCI devices: class, numbers, driver, network card", "knv", lspciFunc("/sys")},
		"mkdir":     {"mkdir [-p] [-m MODE] DIR...", "make folders", "pm:", runMkdir},
		"mount":     {"mount [-r] [-t TYPE] [-o OPTIONS] [SOURCE] DIR", "mount; without arguments list what is mounted", "rt:o:", runMount},
		"mv":        {"mv [-f] SOURCE... DEST", "move files", "f", runMv},
		"poweroff":  {"poweroff [-fn]", "write what is cached, then power off; -n: don't write", "fn", powerFunc(power{off: true})},
		"ps":        {"ps", "list processes", "aefwx", runPs},
		"reboot":    {"reboot [-fn]", "write what is cached, then reboot; -n: don't write", "fn", powerFunc(power{})},
		"rm":        {"rm [-fr] PATH...", "remove files; -r: folders too", "frRi", runRm},
		"sha256sum": {"sha256sum [FILE...]", "show digests", "", runSHA256Sum},
		"sleep":     {"sleep SECONDS", "wait; 0.5, 2m and 1h work too", "", runSleep},
		"sync":      {"sync", "write what is cached", "", runSync},
		"tail":      {"tail [-f] [-n LINES] [FILE...]", "show the end; -f: and what is added", "fn:", runTail},
		"umount":    {"umount [-fl] DIR...", "unmount; -l: detach now, finish when unused", "fl", runUmount},
		"uname":     {"uname [-amnrsv]", "show the kernel's name and version", "amnrsv", runUname},
	}
	if o.Wget != nil {
		all["wget"] = command{"wget [-q] [-O FILE|-] URL", "fetch a URL", "qO:", wgetFunc(o.Wget)}
	}
	return all
}

// command is a utility with what its --help says. spec are its options as in
// getopt(3), with two exceptions: "+" ends options at the first operand, and a
// command's own name leaves the arguments to it.
type command struct {
	usage, about, spec string
	run                func(*call) error
}

// call is one run of a utility.
type call struct {
	ctx  context.Context
	name string
	args []string // operands
	opts map[byte]string
	in   io.Reader
	out  *bufio.Writer
	err  io.Writer

	failed   bool
	terminal bool // standard output is a terminal
}

func (c *call) has(opt byte) bool { _, ok := c.opts[opt]; return ok }

// complain reports a fault that doesn't stop the rest of the work.
func (c *call) complain(err error) {
	c.failed = true
	_ = c.out.Flush()
	fmt.Fprintf(c.err, "%s: %s\n", c.name, plain(err))
}

// plain shortens Go's "open x: no such file or directory" to what utilities
// say.
func plain(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Path + ": " + pe.Err.Error()
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Old + " -> " + le.New + ": " + le.Err.Error()
	}
	return err.Error()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// usageError is a wrong use; its text says what is wrong.
type usageError string

func (e usageError) Error() string { return string(e) }

// exitStatus ends a utility with a status and no message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func (cmd command) fn() Func {
	return func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		c := &call{ctx: ctx, in: stdin, out: bufio.NewWriter(stdout), err: stderr, terminal: isTerminal(stdout)}
		c.name, _, _ = strings.Cut(cmd.usage, " ")
		if len(args) > 1 && slices.Contains(args[1:], "--help") && (cmd.spec != "+" || args[1] == "--help") {
			fmt.Fprintf(stdout, "usage: %s\n%s\n", cmd.usage, cmd.about)
			return 0
		}
		var err error
		if cmd.spec == c.name {
			c.args = args[min(1, len(args)):]
		} else {
			c.opts, c.args, err = options(cmd.spec, args[min(1, len(args)):])
		}
		if err == nil {
			err = cmd.run(c)
		}
		if ferr := c.out.Flush(); err == nil && ferr != nil {
			err = ferr
		}
		var status exitStatus
		var usage usageError
		switch {
		case errors.As(err, &status):
			return int(status)
		case errors.As(err, &usage):
			fmt.Fprintf(stderr, "%s: %s\nusage: %s\n", c.name, usage, cmd.usage)
			return 2
		case errors.Is(err, syscall.EPIPE):
			return 1 // whoever read is gone, and with him whoever would care
		case err != nil:
			c.complain(err)
		}
		if c.failed {
			return 1
		}
		return 0
	}
}

// options splits arguments as getopt(3) does, operands and options in any
// order unless spec begins with "+".
func options(spec string, args []string) (map[byte]string, []string, error) {
	opts := map[byte]string{}
	var rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return opts, append(rest, args...), nil
		case len(arg) < 2 || arg[0] != '-':
			rest = append(rest, arg)
			if strings.HasPrefix(spec, "+") {
				return opts, append(rest, args...), nil
			}
			continue
		}
		if digit := arg[1]; '0' <= digit && digit <= '9' && strings.Contains(spec, "n:") && !strings.ContainsRune(spec, rune(digit)) {
			opts['n'] = arg[1:] // head -3
			continue
		}
		for i := 1; i < len(arg); i++ {
			at := strings.IndexByte(spec, arg[i])
			if at < 0 || arg[i] == ':' || arg[i] == '+' {
				return nil, nil, usageError(fmt.Sprintf("unknown option %q", arg))
			}
			if at+1 == len(spec) || spec[at+1] != ':' {
				opts[arg[i]] = ""
				continue
			}
			switch {
			case i+1 < len(arg):
				opts[arg[i]] = arg[i+1:]
			case len(args) > 0:
				opts[arg[i]], args = args[0], args[1:]
			default:
				return nil, nil, usageError(fmt.Sprintf("-%c needs a value", arg[i]))
			}
			break
		}
	}
	return opts, rest, nil
}
