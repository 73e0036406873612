package mount

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"netstage/mount/loop"
	"netstage/stage1/fault"
)

// ext4 makes a file with an ext4 and returns its path.
func ext4(t *testing.T, name, label string) {
	t.Helper()
	write(t, name, "")
	if err := os.Truncate(name, 8<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-L", label, name).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
}

// A table such as NixOS's with persistent folders, one entry after the other
// below the new root.
func TestMountTable(t *testing.T) {
	needRoot(t)
	root := mountPoint(t)
	ext4(t, root+"/disk.img", "inner")
	lower := squashfs(t, map[string]string{"file": "packed"})
	packed, err := os.ReadFile(lower.Name())
	if err != nil {
		t.Fatal(err)
	}
	write(t, root+"/image.squashfs", string(packed))
	table, err := ParseTable(`
tmpfs /nix/.rw tmpfs mode=0750,x-initrd.mount
/disk.img /persist ext4 loop,noatime
/image.squashfs /lower squashfs loop
overlay /joined overlay lowerdir=/lower,upperdir=/persist/up,workdir=/persist/work
/persist/up /bound none bind,ro,nosuid,strictatime
/persist/file /etc/one none bind
/persist/missing/dir /made none bind,x-netstage.mode=0711
/persist/machine-id /etc/machine-id none bind,x-netstage.file,x-netstage.mode=0444
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range table {
		if i == 5 {
			write(t, root+"/persist/file", "of the disk")
		}
		if err := e.Do(t.Context(), root, ""); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root+"/joined/new", "written")
	if read(t, root+"/joined/file") != "packed" || read(t, root+"/persist/up/new") != "written" || read(t, root+"/bound/new") != "written" || read(t, root+"/etc/one") != "of the disk" {
		t.Error("the entries do not build on each other")
	}
	if err := os.WriteFile(root+"/bound/x", nil, 0o644); err == nil {
		t.Error("the read-only bind mount is written to")
	}
	got := strings.Join(mountsBelow(t, root), "\n")
	for _, want := range []string{"tmpfs /nix/.rw rw,relatime,", "ext4 /persist rw,noatime", "squashfs /lower ro", "overlay /joined rw", "ext4 /bound ro,nosuid", "ext4 /etc/one rw"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// A source that is missing is made.
	for name, want := range map[string]os.FileMode{"/made": os.ModeDir | 0o711, "/persist/missing/dir": os.ModeDir | 0o711, "/etc/machine-id": 0o444} {
		if info, err := os.Stat(root + name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if mode, err := os.Stat(root + "/nix/.rw"); err != nil || mode.Mode().Perm() != 0o750 {
		t.Errorf("options are lost: %v, %v", mode.Mode(), err)
	}

	for line, want := range map[string]string{
		"/persist/file/none /bound2 none bind":             "/none",
		"/none.img /img ext4 loop":                         "/none.img",
		"/image.squashfs /img ext4 loop":                   "ext4",
		"tmpfs /t tmpfs no-such-option":                    "no-such-option",
		"overlay /o overlay lowerdir=/none,upperdir=/x/up": "overlay",
	} {
		err := entry(t, line).Do(t.Context(), root, "")
		if err == nil || !strings.Contains(err.Error(), want) || fault.ClassOf(err) == fault.Failed {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A disk that somebody has mounted is told from one that is free.
func TestInUse(t *testing.T) {
	needRoot(t)
	disk := t.TempDir() + "/disk"
	ext4(t, disk, "x")
	file, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := loop.Attach(file, false)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if used, err := InUse(device.Name()); used || err != nil {
		t.Errorf("%v, %v", used, err)
	}
	dir := mountPoint(t)
	if err := (Mount{Type: "ext4", Source: device.Name(), Target: dir}).Do(); err != nil {
		t.Fatal(err)
	}
	if used, err := InUse(device.Name()); !used || err != nil {
		t.Errorf("mounted: %v, %v", used, err)
	}
}
