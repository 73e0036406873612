package nixosinit

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/nix"
)

func TestPrepare(t *testing.T) {
	root, run := t.TempDir(), t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives the store to a group")
	}
	if err := os.MkdirAll(root+"/nix/store", 0o755); err != nil {
		t.Fatal(err)
	}
	// A root that persists has yesterday's.
	if err := os.MkdirAll(root+"/usr/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nix/store/old/env", root+"/usr/bin/env"); err != nil {
		t.Fatal(err)
	}
	system := nix.System{Toplevel: "/nix/store/top", Spec: nix.Bootspec{Env: "/nix/store/c/bin/env"}}
	for range 2 {
		if err := Prepare(root, run, system); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		run + "/booted-system": "/nix/store/top", run + "/current-system": "/nix/store/top", root + "/usr/bin/env": "/nix/store/c/bin/env",
	} {
		if got, err := os.Readlink(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	// A system without a shell has none.
	if _, err := os.Lstat(root + "/bin/sh"); !os.IsNotExist(err) {
		t.Errorf("/bin/sh: %v", err)
	}
	info, err := os.Stat(root + "/nix/store")
	if err != nil || info.Mode() != os.ModeDir|storeMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestKernel(t *testing.T) {
	dir := t.TempDir()
	modprobe := filepath.Join(dir, "sys/kernel/modprobe")
	if err := os.MkdirAll(filepath.Dir(modprobe), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modprobe, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// There is no firmware_class, and that is no error.
	if err := Kernel(nix.Bootspec{Modprobe: "/nix/store/k/bin/modprobe", Firmware: "/nix/store/f"}, dir, dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(modprobe); err != nil || string(text) != "/nix/store/k/bin/modprobe" {
		t.Errorf("%s, %v", text, err)
	}
}
