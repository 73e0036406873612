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

// onTerminal runs the tool on a terminal of its own. Whenever it shows the next
// of prompts, the text after it is typed. It returns the exit status and all
// that was shown.
func onTerminal(t *testing.T, args []string, prompts ...string) (status int, shown string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
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
	cmd := exec.CommandContext(ctx, tool, args...)
	return typed(t, cmd, prompts...)
}

// typed is onTerminal of any program.
func typed(t *testing.T, cmd *exec.Cmd, prompts ...string) (status int, shown string) {
	t.Helper()
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var text bytes.Buffer
	for i := 0; i < len(prompts); i += 2 {
		for !strings.Contains(text.String(), prompts[i]) {
			if _, err := io.CopyN(&text, terminal, 1); err != nil {
				t.Fatalf("%q was not shown: %v, %v\n%s", prompts[i], err, cmd.Wait(), text.String())
			}
		}
		if _, err := terminal.WriteString(prompts[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	io.Copy(&text, terminal) // ends with an error when the terminal has no more users
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), text.String()
}

func TestBootIsLeftByCtrlAX(t *testing.T) {
	status, shown := onTerminal(t, []string{"boot", "--kernel", anyKernel(t), "--direct", "--memory", "128", "--", "-S"},
		"Ctrl-A X switches it off", "\x01x")
	if status != exitFailure {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"QEMU: Terminated", "the machine was switched off from outside"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
}

// TestPackAndBoot packs an initrd, boots it, and has the machine switch itself
// off by a command that is typed.
func TestPackAndBoot(t *testing.T) {
	kernel := anyKernel(t)
	modules, err := filepath.Glob("../../build/kernels/6.1/lib/modules/*")
	if err != nil || len(modules) != 1 {
		t.Fatalf("modules: %v, %v", modules, err)
	}
	dir := t.TempDir()
	init, initrd := filepath.Join(dir, "init"), filepath.Join(dir, "initrd.zst")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "./vm/testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var errors bytes.Buffer
	status := run([]string{"initrd", "--kernel-modules", modules[0], "--module", "virtio_net", "--init", init,
		"--file", "main.go:/etc/main.go", "-o", initrd}, streams{nil, io.Discard, &errors})
	if status != exitOK || !strings.Contains(errors.String(), "modules of "+filepath.Base(modules[0])) {
		t.Fatalf("status %d: %s", status, errors.String())
	}
	list, err := exec.Command("sh", "-c", `zstd -dcq "$1" | cpio -t --quiet`, "sh", initrd).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	for _, want := range []string{"init\n", "etc/main.go\n", "/virtio_net.ko\n", "/squashfs.ko\n"} {
		if !bytes.Contains(list, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, list)
		}
	}
	status, shown := onTerminal(t, []string{"boot", "--kernel", kernel, "--initrd", initrd, "--direct", "--memory", "256", "--append", "quiet"},
		"what now? ", "poweroff\r")
	if status != exitOK {
		t.Errorf("status %d\n%s", status, shown)
	}
}
