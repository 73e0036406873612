package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// Tmpfs is a file system in memory that holds one image.
type Tmpfs struct {
	Dir string
	// Sparse is for a file that will have holes: a huge page would fill them.
	Sparse  bool
	options string // what the kernel took besides the size
	mounted bool
	file    *os.File
}

// Memory is a store that mounts a tmpfs at dir, of the image's size rounded up
// to whole huge pages, with huge=always where the kernel has it: writing 4 KiB
// pages costs four times as much. The image is dir/image. Close unmounts.
func Memory(dir string) *Tmpfs { return &Tmpfs{Dir: dir} }

func (m *Tmpfs) path() string { return filepath.Join(m.Dir, "image") }

// InMemory is true.
func (m *Tmpfs) InMemory() bool { return true }

// Create mounts the file system, or empties its file.
func (m *Tmpfs) Create(size int64) (*os.File, error) {
	if !m.mounted {
		if err := os.MkdirAll(m.Dir, 0o755); err != nil {
			return nil, err
		}
		if err := m.mount(size); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(m.path(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.file = f
		return f, nil
	}
	// Emptied first: a tmpfs can't be made smaller than what it holds.
	if err := m.file.Truncate(0); err != nil {
		return nil, err
	}
	return m.file, m.Grow(size)
}

func (m *Tmpfs) mount(size int64) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	online, err := os.ReadFile("/sys/devices/system/node/online")
	if err != nil {
		online = nil // a kernel for one node
	}
	for _, m.options = range memoryOptions(string(online), m.Sparse) {
		if err = unix.Mount("tmpfs", m.Dir, "tmpfs", flags, m.optionsFor(size)); err == nil {
			m.mounted = true
			return nil
		}
	}
	return fmt.Errorf("mount tmpfs at %s (%s): %w", m.Dir, m.optionsFor(size), err)
}

// memoryOptions are those to try, the best first. Where memory is on several
// nodes (Documentation/filesystems/tmpfs.rst, mpol) the image lies on all: it
// is read by processors of all, and may be larger than one.
func memoryOptions(nodesOnline string, sparse bool) []string {
	huge := "always"
	if sparse {
		huge = "never"
	}
	options := []string{"mode=0700,huge=" + huge, "mode=0700"}
	if !strings.ContainsAny(nodesOnline, ",-") {
		return options
	}
	return append([]string{"mode=0700,huge=" + huge + ",mpol=interleave", "mode=0700,mpol=interleave"}, options...)
}

func (m *Tmpfs) optionsFor(size int64) string {
	// size=0 would mean without limit.
	size = max(1, (size+hugePage-1)/hugePage) * hugePage
	return fmt.Sprintf("%s,size=%d", m.options, size)
}

// Grow makes the file system larger.
func (m *Tmpfs) Grow(size int64) error {
	const flags = unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("tmpfs", m.Dir, "tmpfs", flags, m.optionsFor(size)); err != nil {
		return fmt.Errorf("remount tmpfs at %s (%s): %w", m.Dir, m.optionsFor(size), err)
	}
	return nil
}

// Commit cuts the file, and leaves nobody who can write it.
func (m *Tmpfs) Commit(size int64) (*os.File, string, error) {
	if err := m.file.Truncate(size); err != nil {
		return nil, "", err
	}
	f, err := os.Open(m.path())
	if err != nil {
		return nil, "", err
	}
	// From here on nobody has it open for writing.
	err = errors.Join(m.file.Chmod(0o444), m.file.Close())
	m.file = nil
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	return f, m.path(), nil
}

// Close unmounts the file system.
func (m *Tmpfs) Close() error {
	if !m.mounted {
		return nil
	}
	var err error
	if m.file != nil {
		err = m.file.Close()
		m.file = nil
	}
	if e := unix.Unmount(m.Dir, 0); e != nil {
		return errors.Join(err, fmt.Errorf("unmount %s: %w", m.Dir, e))
	}
	m.mounted = false
	return err
}
