package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// Load copies an image of that many bytes from a local file into the request's
// store, and returns the copy, opened for reading, at its start. Nothing of it
// is verified. Of the request only Store, Log, Progress and MemAvailable count.
func Load(ctx context.Context, r Request, from io.Reader, size int64) (file *os.File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Store.Close())
		}
	}()
	r = r.withDefaults()
	room := newRoom(r)
	if err := room.prepare(size); err != nil {
		return nil, err
	}
	start, told := time.Now(), time.Time{}
	tell := func(n int64) {
		if r.Progress == nil || n < size && time.Since(told) < 100*time.Millisecond {
			return
		}
		told = time.Now()
		p := Progress{What: r.What, Bytes: n, Total: size, ETA: -1, Elapsed: time.Since(start)}
		if s := p.Elapsed.Seconds(); s > 0 && n > 0 {
			p.Rate = float64(n) / s
			p.ETA = pace.ETA(size-n, p.Rate)
		}
		r.Progress(p)
	}
	const piece = 2 << 20
	done := int64(0)
	for done < size && ctx.Err() == nil {
		n, err := io.CopyN(room.file, from, min(piece, size-done))
		done += n
		switch {
		case errors.Is(err, io.EOF):
			return nil, mirror.NewFault(mirror.Fatal, fault.Short, err, "the image ends at byte %d of %d", done, size)
		case err != nil:
			return nil, fmt.Errorf("copy the image into memory, at byte %d of %d: %w", done, size, err)
		}
		tell(done)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if file, _, err = r.Store.Commit(size); err != nil {
		return nil, mirror.StoreFault(err)
	}
	return file, nil
}
