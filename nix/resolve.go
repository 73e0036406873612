package nix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Resolve follows path inside the directory root as a process chrooted there
// would: absolute links start at root and ".." never leaves it. The result is
// an absolute path inside root without links. Errors are *fs.PathError with
// the path inside root; one link too many (40, as in path_resolution(7)) is
// syscall.ELOOP.
func Resolve(root, name string) (string, error) {
	const maxLinks = 40
	done, rest, links := "/", path.Clean("/"+name), 0
	for rest = strings.TrimPrefix(rest, "/"); rest != ""; {
		part, tail, _ := strings.Cut(rest, "/")
		rest = tail
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := os.Lstat(filepath.Join(root, next))
		if err != nil {
			var pe *fs.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return "", &fs.PathError{Op: "resolve " + name, Path: next, Err: err}
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve " + name, Path: next, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", name, err)
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = target + "/" + rest
	}
	return done, nil
}
