package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Pseudo are the special file systems of a NixOS stage 1, in order, with the
// options of nixpkgs' nixos/modules/system/boot/stage-1-init.sh and
// nixos/modules/tasks/filesystems.nix (boot.specialFileSystems).
var Pseudo = []Mount{
	{Type: "proc", Source: "proc", Target: "/proc", Options: "nosuid,noexec,nodev"},
	{Type: "sysfs", Source: "sysfs", Target: "/sys", Options: "nosuid,noexec,nodev"},
	{Type: "devtmpfs", Source: "devtmpfs", Target: "/dev", Options: "nosuid,strictatime,mode=755,size=5%"},
	{Type: "devpts", Source: "devpts", Target: "/dev/pts", Options: "nosuid,noexec,mode=620,ptmxmode=0666,gid=3"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/dev/shm", Options: "nosuid,nodev,strictatime,mode=1777,size=50%"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/run", Options: "nosuid,nodev,strictatime,mode=755,size=25%"},
	{Type: "ramfs", Source: "ramfs", Target: "/run/keys", Options: "nosuid,nodev,mode=750"},
}

// MountMissing mounts each of table that is not a mount point yet, so that a
// second run does no harm. It goes on after a failure; errors are joined.
func MountMissing(table []Mount) error {
	var errs []error
	for _, m := range table {
		if !IsMountPoint(m.Target) {
			errs = append(errs, m.Do())
		}
	}
	return errors.Join(errs...)
}

// IsMountPoint tells whether another file system than its parent's is mounted
// at dir. Bind mounts within one file system escape it.
func IsMountPoint(dir string) bool {
	var own, parent unix.Stat_t
	if unix.Lstat(dir, &own) != nil || unix.Lstat(filepath.Dir(dir), &parent) != nil {
		return false
	}
	return own.Dev != parent.Dev
}

// links are those that programs of a stage 1 expect; devtmpfs has none.
var links = map[string]string{
	"/etc/mtab":   "/proc/mounts",
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
}

// SpecialFiles makes the files and links below root that tools look for in an
// initrd: /etc/fstab, /etc/mtab, /etc/initrd-release, /dev/fd and its kin.
// What exists is kept.
func SpecialFiles(root string) error {
	errs := []error{os.MkdirAll(filepath.Join(root, "etc"), 0o755), os.MkdirAll(filepath.Join(root, "dev"), 0o755)}
	for _, name := range []string{"/etc/fstab", "/etc/initrd-release"} {
		f, err := os.OpenFile(filepath.Join(root, name), os.O_CREATE, 0o644)
		if err == nil {
			err = f.Close()
		}
		errs = append(errs, err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil && !errors.Is(err, os.ErrExist) {
			errs = append(errs, fmt.Errorf("link %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
