package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func runRm(c *call) error {
	if len(c.args) == 0 && !c.has('f') {
		return usageError("nothing to remove")
	}
	for _, path := range c.args {
		clean := filepath.Clean(path)
		if base := filepath.Base(path); clean == "/" || base == "." || base == ".." {
			c.complain(fmt.Errorf("%s: won't remove that", path))
			continue
		}
		fi, err := os.Lstat(path)
		if err != nil {
			if !c.has('f') || !errors.Is(err, fs.ErrNotExist) {
				c.complain(err)
			}
			continue
		}
		if fi.IsDir() {
			if !c.has('r') && !c.has('R') {
				c.complain(fmt.Errorf("%s: is a folder; -r removes it", path))
				continue
			}
			err = os.RemoveAll(path)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			c.complain(err)
		}
	}
	return nil
}

func runMkdir(c *call) error {
	if len(c.args) == 0 {
		return usageError("no name")
	}
	mode := fs.FileMode(0o777)
	if v, ok := c.opts['m']; ok {
		n, err := strconv.ParseUint(v, 8, 12)
		if err != nil {
			return usageError(fmt.Sprintf("%q is no octal mode", v))
		}
		mode = fs.FileMode(n & 0o777)
		if n&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
	}
	for _, dir := range c.args {
		mk := os.Mkdir
		if c.has('p') {
			mk = os.MkdirAll
		}
		err := mk(dir, mode)
		if err == nil && c.has('m') {
			err = os.Chmod(dir, mode) // whatever the umask is
		}
		if err != nil {
			c.complain(err)
		}
	}
	return nil
}

func runLn(c *call) error {
	if len(c.args) < 1 || len(c.args) > 2 {
		return usageError("a target, and a name at most")
	}
	target, name := c.args[0], filepath.Base(c.args[0])
	if len(c.args) == 2 {
		name = c.args[1]
		if fi, err := os.Stat(name); err == nil && fi.IsDir() {
			name = filepath.Join(name, filepath.Base(target))
		}
	}
	if c.has('f') {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if c.has('s') {
		return os.Symlink(target, name)
	}
	return os.Link(target, name)
}

// runFind understands -name, -type, -maxdepth and -xdev; all must hold.
func runFind(c *call) error {
	var paths []string
	args := c.args
	for len(args) > 0 && (args[0] == "" || args[0][0] != '-') {
		paths, args = append(paths, args[0]), args[1:]
	}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	glob, kind, depth, xdev := "", "", -1, false
	for len(args) > 0 {
		test := args[0]
		args = args[1:]
		switch test {
		case "-xdev":
			xdev = true
			continue
		case "-print":
			continue
		case "-name", "-type", "-maxdepth":
		default:
			return usageError("unknown test " + strconv.Quote(test))
		}
		if len(args) == 0 {
			return usageError(test + " needs a value")
		}
		value := args[0]
		args = args[1:]
		var err error
		switch test {
		case "-name":
			glob = value
			_, err = filepath.Match(glob, "")
		case "-type":
			kind = value
		case "-maxdepth":
			depth, err = strconv.Atoi(value)
		}
		if err != nil {
			return usageError(fmt.Sprintf("%s %s: %v", test, value, err))
		}
	}
	for _, root := range paths {
		if err := c.find(root, glob, kind, depth, xdev); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) find(root, glob, kind string, depth int, xdev bool) error {
	dev := deviceOf(root)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			c.complain(err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		ok := true
		if glob != "" {
			ok, _ = filepath.Match(glob, filepath.Base(path)) // checked before
		}
		switch kind {
		case "f":
			ok = ok && d.Type().IsRegular()
		case "d":
			ok = ok && d.IsDir()
		case "l":
			ok = ok && d.Type()&fs.ModeSymlink != 0
		case "b":
			ok = ok && d.Type()&fs.ModeDevice != 0 && d.Type()&fs.ModeCharDevice == 0
		case "c":
			ok = ok && d.Type()&fs.ModeCharDevice != 0
		}
		if ok {
			if _, err := fmt.Fprintln(c.out, shown(root, path)); err != nil {
				return err
			}
		}
		if d.IsDir() && (depth >= 0 && levels(root, path) >= depth || xdev && deviceOf(path) != dev) {
			return fs.SkipDir
		}
		return c.ctx.Err()
	})
}

// shown is path as find writes it: with the root as it was given, "./" too.
func shown(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == "." {
		return root
	}
	return strings.TrimSuffix(root, "/") + "/" + rel
}

func levels(root, path string) int {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == "." {
		return 0
	}
	n := 1
	for _, r := range rel {
		if r == filepath.Separator {
			n++
		}
	}
	return n
}

func deviceOf(path string) uint64 {
	fi, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}
