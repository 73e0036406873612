package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/kmsg"
)

func runSleep(c *call) error {
	if len(c.args) == 0 {
		return usageError("how long?")
	}
	var total time.Duration
	for _, arg := range c.args {
		unit := time.Second
		digits := strings.TrimRight(arg, "smhd")
		switch arg[len(digits):] {
		case "", "s":
		case "m":
			unit = time.Minute
		case "h":
			unit = time.Hour
		case "d":
			unit = 24 * time.Hour
		default:
			return usageError(fmt.Sprintf("%q is no time", arg))
		}
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || !(n >= 0 && n < 1e6) {
			return usageError(fmt.Sprintf("%q is no time", arg))
		}
		total += time.Duration(n * float64(unit))
	}
	timer := time.NewTimer(total)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return exitStatus(1)
	}
}

func runSync(*call) error { unix.Sync(); return nil }

func runClear(c *call) error {
	_, err := c.out.WriteString("\x1b[H\x1b[2J\x1b[3J")
	return err
}

func runUname(c *call) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	all := c.has('a')
	var parts []string
	for _, f := range []struct {
		opt  byte
		text []byte
	}{{'s', u.Sysname[:]}, {'n', u.Nodename[:]}, {'r', u.Release[:]}, {'v', u.Version[:]}, {'m', u.Machine[:]}} {
		if all || c.has(f.opt) || f.opt == 's' && len(c.opts) == 0 {
			parts = append(parts, unix.ByteSliceToString(f.text))
		}
	}
	_, err := fmt.Fprintln(c.out, strings.Join(parts, " "))
	return err
}

func runEnv(c *call) error {
	env := os.Environ()
	args := c.args
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		kept := env[:0]
		for _, kv := range env {
			if !strings.HasPrefix(kv, name+"=") {
				kept = append(kept, kv)
			}
		}
		env, args = append(kept, args[0]), args[1:]
	}
	if len(args) == 0 {
		_, err := fmt.Fprintln(c.out, strings.Join(env, "\n"))
		return err
	}
	return become(args, env)
}

func runChroot(c *call) error {
	if len(c.args) == 0 {
		return usageError("no folder")
	}
	args := c.args[1:]
	if len(args) == 0 {
		args = []string{"/bin/sh"}
	}
	if err := unix.Chroot(c.args[0]); err != nil {
		return fmt.Errorf("%s: %w", c.args[0], err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return become(args, os.Environ())
}

// become replaces this process by a command. It returns only when it can't.
func become(args, env []string) error {
	file, err := exec.LookPath(args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: not found\n", args[0])
		return exitStatus(127)
	}
	return fmt.Errorf("%s: %w", file, syscall.Exec(file, args, env))
}

// power is how the machine ends.
type power struct{ off bool }

func powerFunc(p power) func(*call) error {
	cmd := unix.LINUX_REBOOT_CMD_RESTART
	if p.off {
		cmd = unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	return func(c *call) error {
		if len(c.args) > 0 {
			return usageError("no operands")
		}
		if !c.has('n') {
			unix.Sync()
		}
		if err := unix.Reboot(cmd); err != nil {
			return fmt.Errorf("reboot(2): %w", err)
		}
		return nil
	}
}

func runDmesg(c *call) error {
	if v, ok := c.opts['n']; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 8 {
			return usageError("-n needs a level from 1 (panics only) to 8 (everything)")
		}
		if _, _, errno := unix.Syscall(unix.SYS_SYSLOG, unix.SYSLOG_ACTION_CONSOLE_LEVEL, 0, uintptr(n)); errno != 0 {
			return fmt.Errorf("console level %d: %w", n, errno)
		}
		return nil
	}
	o := kmsg.TailOptions{Follow: c.has('w'), Raw: c.has('r'), Color: c.terminal}
	if v, ok := c.opts['l']; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 7 {
			return usageError("-l needs a level from 1 to 7")
		}
		o.Level = n
	}
	var w io.Writer = c.out
	if o.Follow {
		w = flushed{c}
	}
	return kmsg.Tail(c.ctx, w, o)
}

// flushed writes at once.
type flushed struct{ c *call }

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.c.out.Write(p)
	if err == nil {
		err = f.c.out.Flush()
	}
	return n, err
}

// wgetFunc is wget over a fetcher.
func wgetFunc(fetch func(context.Context, string, io.Writer) error) func(*call) error {
	return func(c *call) error {
		if len(c.args) != 1 {
			return usageError("one URL")
		}
		url := c.args[0]
		name := c.opts['O']
		if name == "-" {
			return fetch(c.ctx, url, c.out)
		}
		if name == "" {
			noQuery, _, _ := strings.Cut(url, "?")
			_, rest, _ := strings.Cut(noQuery, "://")
			name = "index.html"
			if host, _, _ := strings.Cut(rest, "/"); host != rest && !strings.HasSuffix(rest, "/") {
				name = path.Base(rest)
			}
		}
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		err = fetch(c.ctx, url, f)
		if err == nil && !c.has('q') {
			if fi, serr := f.Stat(); serr == nil {
				fmt.Fprintf(c.err, "%s: %d bytes\n", name, fi.Size())
			}
		}
		return errors.Join(err, f.Close())
	}
}
