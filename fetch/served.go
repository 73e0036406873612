package fetch

import (
	"context"
	"errors"
	"time"
)

// Waits between two rounds of the question whether there are ranges.
const (
	servedFirst = time.Second
	servedMost  = 8 * time.Second
)

// Served tells whether any mirror can be asked for a part of the image. Like a
// download it goes on until it knows, or until ctx ends.
func (r *Ranges) Served(ctx context.Context) (bool, error) {
	for wait := servedFirst; ; wait = min(2*wait, servedMost) {
		var last error
		without, hopeless := 0, 0
		for m := range r.Mirrors() {
			body, err := r.Get(ctx, m, 0, min(4096, r.req.Size)-1)
			if err == nil {
				return true, body.Close()
			}
			last = err
			var failed *Error
			switch {
			case errors.Is(err, ErrNoRanges):
				without++
			case errors.As(err, &failed) && failed.Permanent():
				hopeless++
			}
		}
		switch {
		case without == r.Mirrors():
			return false, nil
		case without+hopeless == r.Mirrors():
			return false, last
		}
		r.req.Log.Warn(last.Error(), "err", last)
		select {
		case <-ctx.Done():
			return false, errors.Join(context.Cause(ctx), last)
		case <-time.After(wait):
		}
	}
}
