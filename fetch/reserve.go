package fetch

import (
	"errors"
	"os"

	"netstage/fetch/internal/mirror"
)

// Reserve makes room for an image of size bytes in a request's store, which is
// not asked to commit it; at most so many of them are there at once. What would
// not fit is refused as Get does. Errors are *Error.
func Reserve(req Request, size, most int64) (*os.File, error) {
	r := newRoom(req.withDefaults())
	if err := r.checkMemory(min(size, most), 0); err != nil {
		return nil, failed(err)
	}
	f, err := r.store.Create(size)
	if err != nil {
		return nil, failed(mirror.StoreFault(errors.Join(err, r.store.Close())))
	}
	return f, nil
}
