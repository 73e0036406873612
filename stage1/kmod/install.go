package kmod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// installLimit is how long an install command may take.
const installLimit = time.Minute

// moduleVariable names to an install command the module that it is for. A
// modprobe below it loads that one plainly, or it would run the command again.
const moduleVariable = "MODPROBE_MODULE"

// install runs the command of modprobe.d that is to load a module in the
// kernel's place, by the shell, as modprobe does. What it leaves running goes
// with it when its time is up. The options come as a variable, not as a part of
// the command: the kernel command line may have more of them.
func (l *Loader) install(ctx context.Context, n *node, command string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, installLimit, fmt.Errorf("it did not end in %v", installLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), moduleVariable+"="+n.name, "CMDLINE_OPTS="+n.params)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if text := strings.TrimSpace(string(said)); text != "" {
		l.log.Info(n.name + ": " + strings.ReplaceAll(text, "\n", "; "))
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // somebody in the background has its output
		return fmt.Errorf("run %q: %w", command, err)
	}
	return nil
}

// masks says that an install command keeps its module out, by being true (or
// false, or :); refused that it was false. Neither takes a shell.
func masks(command string) (masked, refused bool) {
	switch command[strings.LastIndexByte(command, '/')+1:] {
	case "true", ":":
		return true, false
	case "false":
		return true, true
	}
	return false, false
}
