package mount

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// CopySecrets copies every file below dir to the same path below root, with
// its mode: the secrets that a boot loader appended to the initrd
// (/.initrd-secrets, nixpkgs: stage-1-init.sh). It returns how many. A
// missing dir holds none.
func CopySecrets(dir, root string) (int, error) {
	count := 0
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) && name == dir {
				return nil
			}
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		target := filepath.Join(root, relative)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			if name == dir {
				return nil
			}
			return os.MkdirAll(target, info.Mode().Perm())
		case entry.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			os.Remove(target)
			count++
			return os.Symlink(link, target)
		case !entry.Type().IsRegular():
			return nil
		}
		count++
		return CopyFile(name, target, info.Mode().Perm())
	})
	if err != nil {
		return count, fmt.Errorf("copy the secrets of %s: %w", dir, err)
	}
	return count, nil
}

// CopyFile copies a file with that mode; what is at its place is replaced.
func CopyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !os.IsNotExist(err) {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}
