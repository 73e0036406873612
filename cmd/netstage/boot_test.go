package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// anyKernel returns a kernel that QEMU can load.
func anyKernel(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs QEMU: run qemu-tests/setup/deps.sh")
	}
	script, err := filepath.Abs("../../qemu-tests/setup/kernel.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(script, "6.1").CombinedOutput(); err != nil {
		t.Skipf("needs a Debian with its kernel 6.1: %v\n%s", err, out)
	}
	found, err := filepath.Glob("../../build/kernels/6.1/boot/vmlinuz-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("kernels: %v, %v", found, err)
	}
	return found[0]
}

// TestBootTimeout lets a machine that is never started run out of time.
func TestBootTimeout(t *testing.T) {
	kernel := anyKernel(t)
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	var out, errors bytes.Buffer
	status := run([]string{"boot", "--kernel", kernel, "--direct", "--timeout", "500ms", "--memory", "128", "--", "-S"},
		streams{nothing, &out, &errors})
	if status != exitFailure {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"netstage boot: the machine did not end within 500ms\n", "qemu-system-x86_64 -machine pc", " -S\n"} {
		if !strings.Contains(errors.String(), want) {
			t.Errorf("%q is missing in\n%s", want, errors.String())
		}
	}
}

// TestBootTerminal switches a machine off by Ctrl-A X.
func TestBootTerminal(t *testing.T) {
	kernel := anyKernel(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's binary is the tool when it is called by its name.
	tool := filepath.Join(t.TempDir(), "netstage")
	if err := os.Symlink(self, tool); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, tool, "boot", "--kernel", kernel, "--direct", "--memory", "128", "--", "-S")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var shown bytes.Buffer
	for !strings.Contains(shown.String(), "Ctrl-A X switches it off") {
		if _, err := io.CopyN(&shown, terminal, 1); err != nil {
			t.Fatalf("%v: %s", err, shown.String())
		}
	}
	if _, err := terminal.WriteString("\x01x"); err != nil {
		t.Fatal(err)
	}
	io.Copy(&shown, terminal) // ends with an error when the terminal has no more users
	err = cmd.Wait()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitFailure {
		t.Errorf("%v\n%s", err, shown.String())
	}
	for _, want := range []string{"QEMU: Terminated", "the machine was switched off from outside"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is missing in\n%s", want, shown.String())
		}
	}
}
