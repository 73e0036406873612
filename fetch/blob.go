package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Blob is a small file in memory: a manifest, a signature, a hash tree. Nothing can change it.
type Blob struct {
	Bytes  []byte
	SHA256 [32]byte // zero unless it was pinned or asked for
	Source string   // URL of the mirror, without credentials
	file   *os.File
	mapped []byte
}

// Close gives the memory back; Bytes must not be used after that.
func (b *Blob) Close() error {
	file, err := b.Detach()
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return err
}

// Detach hands over the file that Bytes is a mapping of, and gives up the mapping: Bytes must not be used after that.
// The file is open for reading, and sealed against changes. It is nil when the Blob is closed.
func (b *Blob) Detach() (*os.File, error) {
	if b.mapped == nil {
		return nil, nil
	}
	file, err := b.file, unix.Munmap(b.mapped)
	b.Bytes, b.mapped, b.file = nil, nil, nil
	return file, err
}

// GetBlob is Get for a file of at most limit bytes that is needed whole; req.Store is ignored. A larger one is an
// error of class too-large.
func GetBlob(ctx context.Context, req Request, limit int64) (*Blob, error) {
	req.Store = &sealed{limit: limit}
	image, err := Get(ctx, req)
	if err != nil {
		return nil, err
	}
	mapped, err := unix.Mmap(int(image.File.Fd()), 0, int(image.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, storeError(errors.Join(fmt.Errorf("map %d bytes: %w", image.Size, err), image.Close()))
	}
	return &Blob{Bytes: mapped, SHA256: image.SHA256, Source: image.Source, file: image.File, mapped: mapped}, nil
}

// sealed is a store in a memfd that nothing can write to once it is complete.
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

// Grow lets a body of unknown size have one step at a time; Commit looks at what it became.
func (s *sealed) Grow(size int64) error {
	if size > max(s.limit, growStep) {
		return s.tooLarge(size)
	}
	return nil
}

func (s *sealed) tooLarge(size int64) *Error {
	return newError(mirror, "too-large", nil, "%d bytes where at most %d are expected", size, s.limit)
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
