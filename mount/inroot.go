package mount

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// resolve is the path of name below root, as it is once that is "/": links of
// the new root lead nowhere but into it.
func resolve(root, name string) (string, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path.Clean("/"+name), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "", &os.PathError{Op: "open in " + root, Path: name, Err: err}
	}
	defer unix.Close(fd)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// inRoot is resolve for what may have to be made: what is there of it is
// resolved, and the rest lies below.
func inRoot(root, name string) (string, error) {
	name = path.Clean("/" + name)
	found, err := resolve(root, name)
	if !errors.Is(err, os.ErrNotExist) || name == "/" {
		return found, err
	}
	parent, err := inRoot(root, path.Dir(name))
	if err != nil {
		return "", err
	}
	rest := path.Join(parent, path.Base(name))
	if info, err := os.Lstat(rest); err == nil && info.Mode()&os.ModeSymlink != 0 {
		return "", fmt.Errorf("%s is a link to nothing in the new root", name)
	}
	return rest, nil
}
