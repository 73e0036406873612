package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// file is an image on disk, under another name until it is complete.
type file struct {
	path string
	part *os.File
}

// File is a store that writes path, which appears only when the image is
// complete and verified; until then it is path.part. Room is reserved first
// where the file system can.
func File(path string) Store { return &file{path: path} }

func (f *file) InMemory() bool { return false }

func (f *file) Create(size int64) (*os.File, error) {
	if f.part == nil {
		part, err := os.OpenFile(f.path+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return nil, err
		}
		f.part = part
	}
	if err := f.part.Truncate(0); err != nil {
		return nil, err
	}
	return f.part, f.Grow(size)
}

func (f *file) Grow(size int64) error {
	if size <= 0 {
		return nil
	}
	err := unix.Fallocate(int(f.part.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return fmt.Errorf("reserve %d MiB for %s: %w", (size+1<<20-1)>>20, f.path, err)
}

func (f *file) Commit(size int64) (*os.File, string, error) {
	if err := f.part.Truncate(size); err != nil {
		return nil, "", err
	}
	if err := f.part.Sync(); err != nil {
		return nil, "", err
	}
	r, err := os.Open(f.part.Name())
	if err != nil {
		return nil, "", err
	}
	if err := os.Rename(f.part.Name(), f.path); err != nil {
		return nil, "", errors.Join(err, r.Close())
	}
	err = f.part.Close()
	f.part = nil
	return r, f.path, err
}

func (f *file) Close() error {
	if f.part == nil {
		return nil
	}
	err := errors.Join(f.part.Close(), os.Remove(f.part.Name()))
	f.part = nil
	return err
}
