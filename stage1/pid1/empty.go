package pid1

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// empty deletes what the directory dir holds, without leaving its file
// system.
func empty(dir int) error {
	var own unix.Stat_t
	if err := unix.Fstat(dir, &own); err != nil {
		return err
	}
	copyOf, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	list := os.NewFile(uintptr(copyOf), "initramfs")
	defer list.Close()
	names, errs := list.Readdirnames(-1)
	failures := []error{errs}
	for _, name := range names {
		failures = append(failures, remove(dir, name, own.Dev))
	}
	return errors.Join(failures...)
}

func remove(parent int, name string, dev uint64) error {
	var info unix.Stat_t
	if err := unix.Fstatat(parent, name, &info, unix.AT_SYMLINK_NOFOLLOW); err != nil || info.Dev != dev {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Unlinkat(parent, name, 0)
	}
	dir, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := empty(dir); err != nil {
		return err
	}
	// A mount point stays; its file system is another one.
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil && err != unix.EBUSY && err != unix.ENOTEMPTY {
		return err
	}
	return nil
}
