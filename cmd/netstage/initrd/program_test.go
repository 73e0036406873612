package initrd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program that is packed starts in the initrd, with nothing else around it.
func TestPrograms(t *testing.T) {
	e2fsck, err := exec.LookPath("e2fsck")
	if err != nil {
		t.Skip("needs e2fsprogs")
	}
	vfat, err := exec.LookPath("fsck.vfat")
	if err != nil {
		t.Skip("needs dosfstools")
	}
	image, _ := build(t, Options{Init: agent(t), Programs: []File{
		{e2fsck, "/sbin/e2fsck"}, {vfat, "/sbin/fsck.vfat"}, {"/bin/busybox", "/bin/busybox"},
	}})
	dir := unpack(t, image)
	for _, args := range [][]string{{"/sbin/e2fsck", "-V"}, {"/sbin/fsck.vfat", "--help"}, {"/bin/busybox", "true"}} {
		if out, err := exec.Command("chroot", append([]string{dir}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	missing := filepath.Join(t.TempDir(), "program")
	if err := exec.Command("cp", e2fsck, missing).Run(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("patchelf", "--add-needed", "libnowhere.so.1", missing).CombinedOutput(); err != nil {
		t.Fatalf("patchelf: %v\n%s", err, out)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		missing: "needs libnowhere.so.1, which is in none of", script: "no script", "/etc/passwd": "no executable file", "/no/program": "no such file",
	} {
		a := newArchive()
		if err := a.program(File{file, "/sbin/x"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// As in a Nix store, a library is where the program says, not where the host
// has its own.
func TestProgramWithRunpath(t *testing.T) {
	e2fsck, err := exec.LookPath("e2fsck")
	if err != nil {
		t.Skip("needs e2fsprogs")
	}
	libraries, err := closureOf(e2fsck)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(libraries, func(l string) bool { return strings.HasPrefix(filepath.Base(l), "libext2fs.so") })
	if i < 0 {
		t.Fatalf("no libext2fs in %q", libraries)
	}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"cp", libraries[i], e2fsck, dir},
		{"patchelf", "--set-rpath", "$ORIGIN", dir + "/e2fsck"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	got, err := closureOf(dir + "/e2fsck")
	if want := filepath.Join(dir, filepath.Base(libraries[i])); err != nil || !slices.Contains(got, want) || slices.Contains(got, libraries[i]) {
		t.Errorf("%q, %v: no %s", got, err, want)
	}
}

func TestDisksAndFileSystems(t *testing.T) {
	const v = "vermagic=1.2.3 SMP"
	tree := writeTree(t, map[string][]byte{
		"kernel/drivers/ata/ahci.ko":         fakeModule(v, "name=ahci", "depends=libata"),
		"kernel/drivers/ata/libata.ko":       fakeModule(v, "name=libata", "depends="),
		"kernel/drivers/scsi/sd_mod.ko":      fakeModule(v, "name=sd_mod"),
		"kernel/drivers/scsi/old.ko":         fakeModule(v, "name=old"),
		"kernel/drivers/block/virtio_blk.ko": fakeModule(v, "name=virtio_blk"),
		"kernel/fs/fat/vfat.ko":              fakeModule(v, "name=vfat", "depends=fat"),
		"kernel/fs/fat/fat.ko":               fakeModule(v, "name=fat"),
		"kernel/fs/nls/nls_cp437.ko":         fakeModule(v, "name=nls_cp437"),
		"kernel/fs/jfs/jfs.ko":               fakeModule(v, "name=jfs"),
		"kernel/drivers/net/virtio_net.ko":   fakeModule(v, "name=virtio_net"),
		"modules.builtin":                    []byte("kernel/fs/ext4/ext4.ko\n"),
	})
	_, r := build(t, Options{KernelModules: tree, Init: agent(t), Disks: true, FileSystems: []string{"vfat", "ext4", "jfs"}, Modules: []string{"virtio_net"}})
	if got := strings.Join(r.Modules, " "); got != "ahci fat jfs libata nls_cp437 sd_mod vfat virtio_blk virtio_net" || !slices.Contains(r.Builtin, "ext4") {
		t.Errorf("%s; built in %s", got, r.Builtin)
	}
	_, r = build(t, Options{KernelModules: tree, Init: agent(t)})
	if got := strings.Join(r.Modules, " "); got != "virtio_net" {
		t.Errorf("without disks: %s", got)
	}
	if _, err := Build(t.Context(), Options{KernelModules: tree, Init: agent(t), FileSystems: []string{"xfs"}}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "file system xfs: no module xfs") {
		t.Error(err)
	}
}
