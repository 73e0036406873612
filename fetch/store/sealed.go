package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// Sealed is a store in a memory file of at most limit bytes, to which nothing
// can write once it is complete. More is an error of class too-large.
func Sealed(limit int64) Store { return &sealed{limit: limit} }

// sealed is an image in a memfd.
type sealed struct {
	limit int64
	file  *os.File
}

func (s *sealed) InMemory() bool { return true }

func (s *sealed) Create(size int64) (*os.File, error) {
	if err := s.Grow(size); err != nil {
		return nil, err
	}
	if s.file != nil {
		return s.file, s.file.Truncate(0)
	}
	fd, err := unix.MemfdCreate("netstage", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	s.file = os.NewFile(uintptr(fd), "memfd:netstage")
	return s.file, nil
}

// Grow lets a body of unknown size have one step at a time; Commit looks at
// what it became.
func (s *sealed) Grow(size int64) error {
	if size > max(s.limit, Step) {
		return s.tooLarge(size)
	}
	return nil
}

func (s *sealed) tooLarge(size int64) error {
	return fault.Errorf(fault.TooLarge, "%d bytes where at most %d are expected", size, s.limit)
}

func (s *sealed) Commit(size int64) (*os.File, string, error) {
	if size > s.limit {
		return nil, "", s.tooLarge(size)
	}
	if err := s.file.Truncate(size); err != nil {
		return nil, "", err
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(s.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, "", fmt.Errorf("seal memfd: %w", err)
	}
	f := s.file
	s.file = nil
	return f, f.Name(), nil
}

func (s *sealed) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
