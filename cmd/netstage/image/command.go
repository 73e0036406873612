package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A command is a program that packs.
type command struct {
	program, from string // its name, and the package that has it
	args, env     []string
	progress      io.Writer // its standard output, when it isn't nil
}

// run returns what the program said on its standard error, in one line. When
// ctx ends, the program may remove what it has written.
func run(ctx context.Context, c command) (said string, err error) {
	program, err := exec.LookPath(c.program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: it is in the package %s", c.program, c.from)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, c.args...)
	cmd.Env = c.env
	cmd.Stdout = c.progress
	cmd.Stderr = &stderr
	// A Ctrl-C at the terminal is for us, who then end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	said = strings.Join(strings.Fields(stderr.String()), " ")
	if err != nil {
		return said, fmt.Errorf("%s: %w: %s", c.program, err, said)
	}
	return said, nil
}
