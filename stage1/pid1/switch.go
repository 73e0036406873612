package pid1

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A switchover is a change to a new root that can be undone until the old one
// is given up.
type switchover struct {
	proof    *proof
	stage2   Stage2
	moved    []moved
	entered  bool
	detached bool // the old root can be unmounted
}

// moved is a mount that was taken along.
type moved struct {
	from string
	fd   int
}

// enter takes the mounts of stage2.Move along, and makes the new root the root
// of this process. A tmpfs root can be pivoted away; the kernel's own rootfs
// can't (pivot_root(2)), the new root is moved over it instead.
func (sw *switchover) enter() error {
	for _, from := range sw.stage2.Move {
		if err := sw.move(from); err != nil {
			return fmt.Errorf("move %s into %s: %w", from, sw.stage2.Root, err)
		}
	}
	root := sw.stage2.Root
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	if unix.PivotRoot(".", ".") == nil {
		// The old root lies over the new one now.
		sw.entered, sw.detached = true, true
		return nil
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return errors.Join(fmt.Errorf("move %s to /: %w", root, err), unix.Chdir("/"))
	}
	sw.entered = true
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to %s: %w", root, err)
	}
	return unix.Chdir("/")
}

// move takes a mount to the same path below the new root, whose links lead
// nowhere else.
func (sw *switchover) move(from string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open %s: %w", from, err)
	}
	to, err := directory(sw.proof.root, from)
	if err == nil {
		err = unix.MoveMount(fd, "", to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(to)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	sw.moved = append(sw.moved, moved{from, fd})
	return nil
}

// directory opens a directory below root and makes it where it is missing.
func directory(root int, name string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	name = path.Clean("/" + name)
	fd, err := unix.Openat2(root, name, &how)
	if err == unix.ENOTDIR {
		return -1, fmt.Errorf("%s in the image is no directory", name)
	}
	if err != unix.ENOENT {
		return fd, err
	}
	parent, err := directory(root, path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, path.Base(name), 0o755); err != nil && err != unix.EEXIST {
		return -1, fmt.Errorf("make %s in the image: %w", name, err)
	}
	if fd, err = unix.Openat2(root, name, &how); err == unix.ENOENT {
		err = fmt.Errorf("%s in the image is a link to nothing", name)
	}
	return fd, err
}

// undo goes back to the old root, and takes the mounts there again. Those that
// a prepare program has unmounted are gone; the old root is whole without them.
func (sw *switchover) undo() (gone []string, err error) {
	if sw.entered {
		if err := sw.moveBack(); err != nil {
			return nil, err
		}
	}
	for len(sw.moved) > 0 {
		last := sw.moved[len(sw.moved)-1]
		if unix.MoveMount(last.fd, "", unix.AT_FDCWD, last.from, unix.MOVE_MOUNT_F_EMPTY_PATH) == nil {
			last.uncover()
		} else {
			gone = append(gone, last.from)
		}
		unix.Close(last.fd)
		sw.moved = sw.moved[:len(sw.moved)-1]
	}
	return gone, nil
}

// uncover unmounts what was mounted over m meanwhile.
func (m moved) uncover() {
	var own, top unix.Stat_t
	for range 16 {
		if unix.Fstat(m.fd, &own) != nil || unix.Stat(m.from, &top) != nil || own.Dev == top.Dev {
			return
		}
		if unix.Unmount(m.from, unix.MNT_DETACH) != nil {
			return
		}
	}
}

// moveBack undoes the second half of enter.
func (sw *switchover) moveBack() error {
	if err := unix.Fchdir(sw.proof.old); err != nil {
		return fmt.Errorf("return to the initramfs: %w", err)
	}
	to := strings.TrimPrefix(sw.stage2.Root, "/")
	back := func() error { return unix.MoveMount(unix.AT_FDCWD, "/", sw.proof.old, to, 0) }
	if sw.detached {
		back = func() error { return unix.PivotRoot(".", to) }
	}
	if err := back(); err != nil {
		return fmt.Errorf("move the new root back to %s: %w", sw.stage2.Root, err)
	}
	sw.entered = false
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("return to the initramfs: %w", err)
	}
	return unix.Chdir("/")
}

// giveUp frees the old root.
func (sw *switchover) giveUp() error {
	for _, m := range sw.moved {
		unix.Close(m.fd)
	}
	sw.moved = nil
	if !sw.detached {
		return empty(sw.proof.old)
	}
	err := unix.Fchdir(sw.proof.old)
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	return errors.Join(err, unix.Chdir("/"))
}
