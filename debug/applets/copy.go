package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// targets calls do with each source and where it goes: into the last operand
// when that is a folder, else to it.
func (c *call) targets(do func(from, to string) error) error {
	if len(c.args) < 2 {
		return usageError("a source and a destination are needed")
	}
	dest := c.args[len(c.args)-1]
	sources := c.args[:len(c.args)-1]
	fi, err := os.Stat(dest)
	into := err == nil && fi.IsDir()
	if len(sources) > 1 && !into {
		return fmt.Errorf("%s: not a folder", dest)
	}
	for _, from := range sources {
		to := dest
		if into {
			to = filepath.Join(dest, filepath.Base(from))
		}
		if err := do(from, to); err != nil {
			c.complain(err)
		}
	}
	return nil
}

func runCp(c *call) error {
	cp := copier{
		recurse: c.has('r') || c.has('R') || c.has('a'),
		keep:    c.has('p') || c.has('a'),
		force:   c.has('f'),
	}
	return c.targets(cp.copy)
}

func runMv(c *call) error {
	return c.targets(func(from, to string) error {
		err := os.Rename(from, to)
		if !errors.Is(err, unix.EXDEV) {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := (copier{recurse: true, keep: true}).copy(from, to); err != nil {
			return err
		}
		return os.RemoveAll(from)
	})
}

// copier copies trees.
type copier struct {
	recurse bool
	keep    bool // modes, owners, times, and links as links
	force   bool
}

func (cp copier) copy(from, to string) error {
	stat := os.Stat
	if cp.recurse {
		stat = os.Lstat
	}
	fi, err := stat(from)
	if err != nil {
		return err
	}
	switch mode := fi.Mode(); {
	case mode.IsDir():
		if !cp.recurse {
			return fmt.Errorf("%s: is a folder; -r copies it", from)
		}
		err = cp.dir(from, to, fi)
	case mode&fs.ModeSymlink != 0:
		err = cp.link(from, to)
	case mode.IsRegular() || !cp.recurse:
		err = cp.file(from, to, fi)
	default:
		err = cp.node(to, fi)
	}
	if err != nil || !cp.keep {
		return err
	}
	return keepAttributes(to, fi)
}

func (cp copier) dir(from, to string, fi fs.FileInfo) error {
	inside, err := within(to, from)
	if err != nil {
		return err
	}
	if inside {
		return fmt.Errorf("%s: can't be copied into itself, %s", from, to)
	}
	if err := os.Mkdir(to, fi.Mode().Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, cp.copy(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	}
	return errors.Join(err, os.Chmod(to, fi.Mode()))
}

// within says whether path is dir or lies below it.
func within(path, dir string) (bool, error) {
	a, err := filepath.Abs(path)
	if err != nil {
		return false, err
	}
	d, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(d, a)
	return err == nil && filepath.IsLocal(rel), nil
}

func (cp copier) link(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, to)
}

func (cp copier) file(from, to string, fi fs.FileInfo) error {
	if there, err := os.Stat(to); err == nil && os.SameFile(fi, there) {
		return fmt.Errorf("%s and %s are the same file", from, to)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fi.Mode().Perm())
	if err != nil && cp.force {
		if err := os.Remove(to); err != nil {
			return err
		}
		out, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fi.Mode().Perm())
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// node makes a device, pipe or socket like fi.
func (cp copier) node(to string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: not a kind of file that can be copied", to)
	}
	if err := unix.Mknod(to, st.Mode, int(st.Rdev)); err != nil {
		return &fs.PathError{Op: "mknod", Path: to, Err: err}
	}
	return nil
}

func keepAttributes(to string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	times := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
	if fi.Mode()&fs.ModeSymlink == 0 {
		if err := os.Chmod(to, fi.Mode()); err != nil { // after chown, which drops the set-id bits
			return err
		}
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}
