package system

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// EtcImage makes the metadata image of the folder etc, as nixpkgs does with
// mkcomposefs (nixos/modules/system/etc/build-composefs-dump.py): of files
// their size, owner and mode, and as attributes where their contents are.
func EtcImage(etc, image string) error {
	work, err := os.MkdirTemp(filepath.Dir(etc), ".etc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	err = filepath.WalkDir(etc, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(etc, name)
		if err != nil {
			return err
		}
		return metadataOf(name, filepath.Join(work, rel), "/"+rel)
	})
	if err != nil {
		return fmt.Errorf("metadata of %s: %w", etc, err)
	}
	if out, err := exec.Command("mkfs.erofs", image, work).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.erofs: %w: %s", err, out)
	}
	return nil
}

func metadataOf(from, to, redirect string) error {
	var stat unix.Stat_t
	if err := unix.Lstat(from, &stat); err != nil {
		return err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
		return os.Lchown(to, int(stat.Uid), int(stat.Gid))
	default:
		if err := os.WriteFile(to, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(to, stat.Size); err != nil {
			return err
		}
		for key, value := range map[string]string{"trusted.overlay.metacopy": "", "trusted.overlay.redirect": redirect} {
			if err := unix.Setxattr(to, key, []byte(value), 0); err != nil {
				return &os.PathError{Op: "set " + key, Path: to, Err: err}
			}
		}
	}
	if err := os.Lchown(to, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	return unix.Chmod(to, stat.Mode&0o7777)
}
