// Package fsck has file systems checked before they are mounted, by the
// programs for that, as fsck(8) starts them.
package fsck

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// unchecked are types that need no check before a mount: they are read-only,
// or their drivers do what is to be done (nixpkgs: checkFS of
// stage-1-init.sh). fsck.xfs does nothing.
var unchecked = []string{
	"apfs", "auto", "bcachefs", "btrfs", "cramfs", "erofs", "iso9660", "nilfs2", "ntfs3", "squashfs", "swap", "udf", "xfs", "zfs",
}

// Program finds the program that checks file systems of a type: fsck.TYPE in
// one of the folders, or e2fsck for its three. ok is false where the type
// needs none; the path is empty where there is none.
func Program(kind string, dirs ...string) (path string, ok bool) {
	if kind == "" || slices.Contains(unchecked, kind) {
		return "", false
	}
	names := []string{"fsck." + kind}
	if slices.Contains([]string{"ext2", "ext3", "ext4"}, kind) {
		names = append(names, "e2fsck")
	}
	for _, name := range names {
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, true
			}
		}
	}
	return "", true
}

// What fsck's exit status means, by bit.
const (
	needsReboot = 2
	uncorrected = 4
)

// statusFault is the error that an exit status of fsck(8) means. Where the file
// system is mended and the machine has to start again before it is mounted,
// its class is fsck-reboot.
func statusFault(what string, status int) *fault.Error {
	switch {
	case status&uncorrected != 0:
		return fault.Errorf(fault.Fsck, "%s left errors uncorrected: a person has to decide", what)
	case status&^1 == needsReboot:
		return fault.Errorf(fault.FsckReboot, "%s corrected errors and wants a reboot", what)
	}
	return fault.Errorf(fault.Fsck, "%s failed with status %d", what, status)
}

// kept is how many of a program's lines are told on the failure screen.
const kept = 6

// cleanUp is how long a program that was asked to stop may take for it.
const cleanUp = 30 * time.Second

// runUntil runs a program, and leaves one alone that not even a signal ends,
// because its disk hangs.
func runUntil(ctx context.Context, cancel context.CancelCauseFunc, cmd *exec.Cmd, idle time.Duration) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); endIdle(watching, cancel, cmd.Process.Pid, idle) }()
	defer func() { stop(); <-watched }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(cleanUp + time.Second):
		return context.Cause(ctx)
	}
}

// Run checks a device, mending what is safe to mend (-a). Each line of the
// program goes to say, and the last ones are what was tried. corrected tells
// that there were errors, which are gone. At the end of ctx, and when it has
// done nothing for the time idle, the program is asked to stop, which e2fsck
// does in good order.
func Run(ctx context.Context, program, device string, idle time.Duration, say func(string)) (corrected bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lines []string
	cmd := exec.CommandContext(ctx, program, "-a", device)
	cmd.Env = []string{"PATH=/sbin:/bin", "LANG=C"}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = cleanUp
	output, input := io.Pipe()
	cmd.Stdout, cmd.Stderr = input, input
	told := make(chan struct{})
	go func() {
		defer close(told)
		for s := bufio.NewScanner(output); s.Scan(); {
			if line := strings.TrimSpace(s.Text()); line != "" {
				say(line)
				if lines = append(lines, line); len(lines) > kept {
					lines = lines[1:]
				}
			}
		}
		io.Copy(io.Discard, output) // a line that is too long
	}()
	err = runUntil(ctx, cancel, cmd, idle)
	input.Close()
	<-told
	what := device + ": " + filepath.Base(program)
	var exit *exec.ExitError
	var failed *fault.Error
	switch {
	case ctx.Err() != nil:
		failed = fault.Errorf(fault.Fsck, "%s failed: %w", what, context.Cause(ctx))
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() > 1:
		failed = statusFault(what, exit.ExitCode())
	default:
		failed = fault.Errorf(fault.Fsck, "%s failed: %w", what, err)
	}
	failed.Tried = lines
	return false, failed
}
