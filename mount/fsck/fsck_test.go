package fsck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/stage1/fault"
)

func script(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each bit of fsck(8)'s exit status.
func TestRun(t *testing.T) {
	for status, want := range map[int]struct {
		corrected bool
		class     fault.Class
		cause     string
	}{
		0:  {},
		1:  {corrected: true},
		2:  {class: "fsck-reboot", cause: "wants a reboot"},
		3:  {class: "fsck-reboot", cause: "wants a reboot"},
		4:  {class: "fsck", cause: "left errors uncorrected"},
		6:  {class: "fsck", cause: "left errors uncorrected"}, // no reboot mends it
		8:  {class: "fsck", cause: "failed with status 8"},
		12: {class: "fsck", cause: "left errors uncorrected"},
	} {
		program := script(t, "fsck.test", fmt.Sprintf(`echo "args $*"; echo; echo "trouble" >&2; exit %d`, status))
		var said []string
		corrected, err := Run(t.Context(), program, "/dev/x", time.Minute, func(line string) { said = append(said, line) })
		if corrected != want.corrected || (err == nil) != (want.class == "") {
			t.Errorf("%d: %v, %v", status, corrected, err)
		}
		if got := strings.Join(said, "|"); got != "args -a /dev/x|trouble" {
			t.Errorf("%d: said %q", status, got)
		}
		if err != nil && (fault.ClassOf(err) != want.class || !strings.Contains(err.Error(), want.cause) ||
			!strings.HasPrefix(err.Error(), "/dev/x: fsck.test ") || len(fault.TriedOf(err)) != 2) {
			t.Errorf("%d: %v, %q", status, err, fault.TriedOf(err))
		}
	}
}

func TestRunFails(t *testing.T) {
	if _, err := Run(t.Context(), "/no/such/program", "/dev/x", time.Minute, func(string) {}); fault.ClassOf(err) != fault.Fsck || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), script(t, "fsck.killed", "kill -9 $$"), "/dev/x", time.Minute, func(string) {}); !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	// It is asked to stop, and waited for.
	ctx, cancel := context.WithCancelCause(t.Context())
	program := script(t, "fsck.slow", `trap 'echo cleaned up; exit 32' TERM; echo started; while :; do sleep 0.1; done`)
	late := errors.New("too late")
	_, err := Run(ctx, program, "/dev/x", time.Minute, func(line string) { cancel(late) })
	if !errors.Is(err, late) || strings.Join(fault.TriedOf(err), "|") != "started|cleaned up" {
		t.Errorf("%v, %q", err, fault.TriedOf(err))
	}
}

// A program that waits for a disk that does not answer is ended, and one that
// works is not, nor what it has started.
func TestIdle(t *testing.T) {
	const idle = 3 * time.Second
	program := script(t, "fsck.idle", "trap 'kill $!; exit 32' TERM; echo started; sleep 1000 & wait")
	_, err := Run(t.Context(), program, "/dev/x", idle, func(string) {})
	if fault.ClassOf(err) != fault.Fsck || !strings.Contains(err.Error(), "it has done nothing for 3s: the disk does not answer") {
		t.Errorf("idle: %v", err)
	}
	busy := script(t, "fsck.busy", `(end=$(($(date +%s) + 6)); while [ $(date +%s) -lt $end ]; do :; done)`)
	if _, err := Run(t.Context(), busy, "/dev/x", idle, func(string) {}); err != nil {
		t.Errorf("busy: %v", err)
	}
}

func TestProgram(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, name := range []string{dir + "/e2fsck", other + "/fsck.vfat", other + "/fsck.ext2"} {
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/fsck.jfs", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]string{
		"ext4": dir + "/e2fsck", "ext2": other + "/fsck.ext2", "vfat": other + "/fsck.vfat",
		"jfs": "", "f2fs": "", "xfs": "-", "squashfs": "-", "auto": "-", "": "-",
	} {
		path, ok := Program(kind, dir, other)
		if ok == (want == "-") || ok && path != want {
			t.Errorf("%s: %q, %v", kind, path, ok)
		}
	}
}
