// Package fsck has file systems checked before they are mounted, by the
// programs for that, as fsck(8) starts them.
package fsck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

// Error says that a file system has errors that were not mended, or that the
// check itself failed. Its class is "fsck", or "fsck-reboot" where it is mended
// and the machine has to start again before it is mounted.
type Error struct {
	Device  string
	Program string
	Status  int // of fsck(8); -1: it did not end by itself
	Lines   []string
	Cause   error
}

// What fsck's exit status means, by bit.
const (
	needsReboot = 2
	uncorrected = 4
)

func (e *Error) Error() string {
	what := fmt.Sprintf("%s: %s ", e.Device, filepath.Base(e.Program))
	switch {
	case e.Cause != nil:
		return what + "failed: " + e.Cause.Error()
	case e.Status&uncorrected != 0:
		return what + "left errors uncorrected: a person has to decide"
	case e.Status&^1 == needsReboot:
		return what + "corrected errors and wants a reboot"
	}
	return fmt.Sprintf("%sfailed with status %d", what, e.Status)
}
func (e *Error) Unwrap() error { return e.Cause }

// Class names the failure for operators.
func (e *Error) Class() string {
	if e.Cause == nil && e.Status&^1 == needsReboot {
		return "fsck-reboot"
	}
	return "fsck"
}

// Tried is what the program said last.
func (e *Error) Tried() []string { return e.Lines }

// kept is how many of a program's lines are told on the failure screen.
const kept = 6

// cleanUp is how long a program that was asked to stop may take for it.
const cleanUp = 30 * time.Second

// runUntil runs a program, and leaves one alone that not even a signal ends,
// because its disk hangs.
func runUntil(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
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
// program goes to say. corrected tells that there were errors, which are gone.
// Errors are *Error. At the end of ctx the program is asked to stop, which
// e2fsck does in good order.
func Run(ctx context.Context, program, device string, say func(string)) (corrected bool, err error) {
	failed := &Error{Device: device, Program: program, Status: -1}
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
				if failed.Lines = append(failed.Lines, line); len(failed.Lines) > kept {
					failed.Lines = failed.Lines[1:]
				}
			}
		}
		io.Copy(io.Discard, output) // a line that is too long
	}()
	err = runUntil(ctx, cmd)
	input.Close()
	<-told
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		failed.Cause = context.Cause(ctx)
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		if failed.Status = exit.ExitCode(); failed.Status == 1 {
			return true, nil
		}
	default:
		failed.Cause = err
	}
	return false, failed
}
