package initrd

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// archive collects what goes into the initrd, by path without a leading slash.
type archive struct {
	entries map[string]cpio.Record
	dup     error
	agent   []byte // what becomes /init
}

// newArchive begins with the folders and devices that the kernel and the
// agent's Go runtime need before anything is mounted: /dev/console for the
// first three file descriptors, /dev/null for the runtime when they are closed.
func newArchive() *archive {
	a := &archive{entries: map[string]cpio.Record{}}
	for dir, mode := range map[string]uint64{
		"dev": 0o755, "etc": 0o755, "lib": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755, "tmp": 0o1777,
	} {
		a.entries[dir] = cpio.Directory(dir, mode)
	}
	a.entries["dev/console"] = cpio.CharDev("dev/console", 0o600, 5, 1)
	a.entries["dev/null"] = cpio.CharDev("dev/null", 0o666, 1, 3)
	return a
}

// add puts an entry in, with the folders above it. The first entry of a path
// stays; the second one is remembered as an error.
func (a *archive) add(name string, r cpio.Record) {
	if _, twice := a.entries[name]; twice {
		if a.dup == nil {
			a.dup = fmt.Errorf("/%s is put in twice", name)
		}
		return
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := a.entries[dir]; !ok {
			a.entries[dir] = cpio.Directory(dir, 0o755)
		}
	}
	a.entries[name] = r
}

func (a *archive) file(name string, perm uint64, data []byte) {
	a.add(name, cpio.StaticRecord(data, cpio.Info{Name: name, Mode: unix.S_IFREG | perm}))
}

// hostFile adds a file, or a folder with all below it.
func (a *archive) hostFile(f File) error {
	if !strings.HasPrefix(f.Target, "/") || path.Clean(f.Target) == "/" {
		return fmt.Errorf("%s: the place in the initrd, %q, must be an absolute path", f.Source, f.Target)
	}
	target := strings.TrimPrefix(path.Clean(f.Target), "/")
	source, err := filepath.EvalSymlinks(f.Source) // what is named is followed, what is below is kept
	if err != nil {
		return fmt.Errorf("file for /%s: %w", target, err)
	}
	err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return err
		}
		return a.hostEntry(p, path.Join(target, filepath.ToSlash(rel)), d)
	})
	if err != nil {
		return fmt.Errorf("file for /%s: %w", target, err)
	}
	return a.dup
}

func (a *archive) hostEntry(source, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	perm := uint64(info.Mode().Perm())
	switch info.Mode().Type() {
	case 0:
		data, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		a.file(name, perm, data)
	case fs.ModeDir:
		if _, ok := a.entries[name]; !ok {
			a.add(name, cpio.Directory(name, perm))
		}
	case fs.ModeSymlink:
		to, err := os.Readlink(source)
		if err != nil {
			return err
		}
		a.add(name, cpio.Symlink(name, to))
	default:
		return fmt.Errorf("%s: neither file, folder nor symbolic link", source)
	}
	return nil
}

// write writes the archive in newc format, the kernel's: sorted, owned by
// root, without times, numbered in order.
func (a *archive) write(w io.Writer) error {
	if a.dup != nil {
		return a.dup
	}
	out := cpio.Newc.Writer(w)
	for i, name := range slices.Sorted(maps.Keys(a.entries)) {
		r := a.entries[name]
		if r.FileSize > 1<<32-1 {
			return fmt.Errorf("/%s: %d bytes; the format ends at 4 GiB, fetch it by rootfs= instead", name, r.FileSize)
		}
		r.Ino, r.NLink = uint64(i+1), 1
		r.UID, r.GID, r.MTime, r.Major, r.Minor = 0, 0, 0, 0, 0
		if err := out.WriteRecord(r); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return cpio.WriteTrailer(out)
}
