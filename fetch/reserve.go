package fetch

import "os"

// Reserve makes room for an image of size bytes in a request's store, which is
// not asked to commit it. What would not fit is refused as Get does. Errors are
// *Error.
func Reserve(req Request, size int64) (*os.File, error) {
	r := newRoom(req.withDefaults())
	if err := r.prepare(size); err != nil {
		return nil, failed(err)
	}
	return r.file, nil
}
