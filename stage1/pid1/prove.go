package pid1

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// prove opens the initramfs, after making sure that it is one, that it is
// ours, that this is PID 1, and that init is an executable file inside a
// different, mounted root.
func prove(exe string, s Stage2) (int, error) {
	if os.Getpid() != 1 {
		return -1, fmt.Errorf("this is process %d, not 1", os.Getpid())
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return -1, fmt.Errorf("look at /: %w", err)
	}
	if fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC {
		return -1, fmt.Errorf("/ is no ramfs or tmpfs (type %#x)", fs.Type)
	}
	var root, own, init, target unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return -1, fmt.Errorf("look at /: %w", err)
	}
	if err := unix.Stat(exe, &own); err != nil {
		return -1, fmt.Errorf("look at %s: %w", exe, err)
	}
	if own.Dev != root.Dev {
		return -1, fmt.Errorf("%s, this program, is not in the root file system", exe)
	}
	dir, err := unix.Open(s.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the new root %s: %w", s.Root, err)
	}
	defer unix.Close(dir)
	if err := unix.Fstat(dir, &target); err != nil {
		return -1, fmt.Errorf("look at %s: %w", s.Root, err)
	}
	if target.Dev == root.Dev {
		return -1, fmt.Errorf("nothing is mounted at %s", s.Root)
	}
	file, err := unix.Openat2(dir, s.Init, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return -1, fmt.Errorf("%s in the new root: %w", s.Init, err)
	}
	defer unix.Close(file)
	if err := unix.Fstat(file, &init); err != nil {
		return -1, fmt.Errorf("look at %s: %w", s.Init, err)
	}
	if init.Mode&unix.S_IFMT != unix.S_IFREG || init.Mode&0o111 == 0 {
		return -1, fmt.Errorf("%s in the new root is no executable file (mode %o)", s.Init, init.Mode)
	}
	return unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
