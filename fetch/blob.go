package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/store"
)

// Blob is a small file in memory: a manifest, a signature, a hash tree. Nothing
// can change it.
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

// Detach hands over the file that Bytes is a mapping of, and gives up the
// mapping: Bytes must not be used after that. The file is open for reading, and
// sealed against changes. It is nil when the Blob is closed.
func (b *Blob) Detach() (*os.File, error) {
	if b.mapped == nil {
		return nil, nil
	}
	file, err := b.file, unix.Munmap(b.mapped)
	b.Bytes, b.mapped, b.file = nil, nil, nil
	return file, err
}

// GetBlob is Get for a file of at most limit bytes that is needed whole;
// req.Store is ignored. A larger one is an error of class too-large.
func GetBlob(ctx context.Context, req Request, limit int64) (*Blob, error) {
	req.Store = store.Sealed(limit)
	image, err := Get(ctx, req)
	if err != nil {
		return nil, err
	}
	mapped, err := unix.Mmap(int(image.File.Fd()), 0, int(image.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, failed(mirror.StoreFault(errors.Join(fmt.Errorf("map %d bytes: %w", image.Size, err), image.Close())))
	}
	return &Blob{Bytes: mapped, SHA256: image.SHA256, Source: image.Source, file: image.File, mapped: mapped}, nil
}
