package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Etc is an /etc that is mounted (nixpkgs: system.etc.overlay): a file system
// with the names, links and permissions of its files, a folder with their
// contents, and what was written to it.
type Etc struct {
	Image    string // a file, below the new root or not
	Basedir  string // likewise
	Metadata string // where the image is mounted, to go on into stage 2
	ReadOnly bool
}

// Do mounts it at etc below root. Errors are *Error, *ImageError or those of
// the loop device and of files.
func (e Etc) Do(root string) error {
	if err := Discard(e.Metadata); err != nil {
		return err
	}
	if err := (Mount{Type: "erofs", Source: e.Image, Target: e.Metadata, Options: "ro,nodev,nosuid"}).loop(); err != nil {
		return fmt.Errorf("the metadata of /etc: %w", err)
	}
	// Two colons: the base folder has data alone (Documentation/filesystems/
	// overlayfs.rst, data-only lower layers; Linux 6.5).
	options := "nodev,nosuid,redirect_dir=on,metacopy=on,lowerdir=" + e.Metadata + "::" + e.Basedir
	if e.ReadOnly {
		options = "ro," + options
	} else {
		written := filepath.Join(root, ".rw-etc")
		upper, work := filepath.Join(written, "upper"), filepath.Join(written, "work")
		for _, dir := range []string{upper, work} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make what is written to /etc: %w", err)
			}
		}
		if err := clearOpaque(e.Metadata, upper); err != nil {
			return fmt.Errorf("look at what was written to /etc: %w", err)
		}
		options += ",upperdir=" + upper + ",workdir=" + work
	}
	return Mount{Type: "overlay", Source: "overlay", Target: filepath.Join(root, "etc"), Options: options}.Do()
}

// opaque marks a folder that hides the one below it.
const opaque = "trusted.overlay.opaque"

// clearOpaque shows again what a newer system has in folders of lower that were
// made in upper when there were none: overlayfs marked them then as hiding all
// (nixpkgs#505475).
func clearOpaque(lower, upper string) error {
	entries, err := os.ReadDir(lower)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		dir := filepath.Join(upper, entry.Name())
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue // nothing there hides anything, or one file does
		}
		if err := unix.Lremovexattr(dir, opaque); err != nil && err != unix.ENODATA && err != unix.ENOTSUP {
			return &os.PathError{Op: "clear " + opaque, Path: dir, Err: err}
		}
		if err := clearOpaque(filepath.Join(lower, entry.Name()), dir); err != nil {
			return err
		}
	}
	return nil
}

// Inside tells whether the absolute path place is dir or below it.
func Inside(place, dir string) bool {
	return dir == "/" || place == dir || strings.HasPrefix(place, dir+"/")
}
