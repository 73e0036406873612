package root

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
	"netstage/mount"
	"netstage/nix"
	"netstage/qemu-tests/namespaced"
	"netstage/stage1/disks"
	"netstage/stage1/fault"
	"netstage/stage1/image"
)

func TestMain(m *testing.M) { namespaced.Main(m) }

// drivers are loaded by nobody.
type drivers struct{ asked []string }

func (d *drivers) Load(_ context.Context, modules ...string) error {
	d.asked = append(d.asked, modules...)
	return nil
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// machine has a new root with a system in it, as an image would be mounted.
func machine(t *testing.T) (*Step, *bytes.Buffer, *image.Image, nix.System) {
	namespaced.Need(t)
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := TakeDown(); err != nil {
			t.Error(err)
		}
	})
	write(t, newRoot+"/sbin/init", "#!/bin/sh\n")
	log := new(bytes.Buffer)
	logger, asked := slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log))), new(drivers)
	s := &Step{Log: logger, Drivers: asked, Disks: &disks.Disks{Log: logger, Drivers: asked}, Initrd: t.TempDir()}
	return s, log, &image.Image{}, nix.System{Kind: nix.Plain, Init: "/sbin/init"}
}

// What a second archive handed in lies where stage 2 looks for it, with the
// modes that secrets want; folders that are there keep theirs.
func TestComplete(t *testing.T) {
	s, log, i, system := machine(t)
	write(t, s.Initrd+"/ssh/authorized_keys", "a key")
	write(t, s.Initrd+"/ssh/ssh_host_ed25519_key", "secret")
	write(t, s.Initrd+"/addrs.json", "[]")
	if err := os.MkdirAll(newRoot+"/etc", 0o711); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(t.Context(), i, system, disks.Prepared{Written: mount.Volatile}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"/root/.ssh/authorized_keys": 0o400, "/etc/ssh/ssh_host_ed25519_key": 0o400, "/root/network/addrs.json": 0o644,
		"/root": 0o700 | os.ModeDir, "/root/.ssh": 0o700 | os.ModeDir, "/etc/ssh": 0o755 | os.ModeDir, "/etc": 0o711 | os.ModeDir,
	} {
		if info, err := os.Stat(newRoot + name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if !strings.Contains(log.String(), "handed in: 3 files") {
		t.Errorf("%s", log)
	}
}

// A root that is not to be written to has no place for what is handed in, and
// boots all the same.
func TestHandInToAReadOnlyRoot(t *testing.T) {
	s, log, i, system := machine(t)
	write(t, s.Initrd+"/machine-id", "0123")
	if err := os.Mkdir(newRoot+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", newRoot, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(t.Context(), i, system, disks.Prepared{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "has no place in this system") {
		t.Errorf("%s", log)
	}
}

// An /etc that is to be mounted and is none in the image is a failure of the
// step; one that a script mounts itself is the script's.
func TestEtcThatIsMissing(t *testing.T) {
	s, _, i, system := machine(t)
	system.Spec.EtcImage, system.Spec.EtcBasedir = "/nix/store/x-etc.erofs", "/nix/store/x-etc"
	if err := s.Complete(t.Context(), i, system, disks.Prepared{}); err == nil || !strings.HasPrefix(err.Error(), "/etc: ") {
		t.Errorf("%v", err)
	}
	system.Kind = nix.Classic
	if err := s.Complete(t.Context(), i, system, disks.Prepared{}); err != nil {
		t.Error(err)
	}
	if asked := s.Drivers.(*drivers).asked; len(asked) == 0 || asked[0] != "erofs" {
		t.Errorf("loaded %q", asked)
	}
}

// A system whose init is gone is not completed.
func TestSystemThatIsGone(t *testing.T) {
	s, _, i, system := machine(t)
	system.Init = "/nowhere"
	if err := s.Complete(t.Context(), i, system, disks.Prepared{}); err == nil {
		t.Error("completed")
	}
}

// What is no image is told as such, and nothing is mounted.
func TestMountImageRefuses(t *testing.T) {
	s, _, _, _ := machine(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := s.MountImage(t.Context(), &image.Image{File: file}, disks.Prepared{Written: mount.Volatile}); fault.ClassOf(err) != fault.BadImage {
		t.Errorf("%v", err)
	}
}

// Stage 2 has the modprobe of its own.
func TestTellKernel(t *testing.T) {
	namespaced.Need(t)
	if err := TellKernel(nix.System{Kind: nix.Plain}); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile("/proc/sys/kernel/modprobe"); err != nil || string(text) != "/sbin/modprobe" {
		t.Errorf("%q, %v", text, err)
	}
}
