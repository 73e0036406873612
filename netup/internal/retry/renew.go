package retry

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrExpired says that a lease ran out before any server renewed it.
	ErrExpired = errors.New("the lease has run out")
	// ErrLost says that a server took a lease back.
	ErrLost = errors.New("the lease is lost")
)

// Lifetimes are a lease's times, counted from when it was asked for.
type Lifetimes struct {
	From          time.Time
	Lease, T1, T2 time.Duration // Lease 0: without end
}

// Renew waits until a lease is to be renewed and then calls once until it has
// an answer, the rebinding part after T2 (RFC 2131 section 4.4.5, RFC 8415
// sections 18.2.4 and 18.2.5). once waits for an answer no longer than wait;
// nil without an error means that none came. Renew returns the answer,
// ErrExpired, an error of once that is ErrLost, or the end of ctx; other errors
// are only told.
func Renew[T any](ctx context.Context, t Lifetimes, once func(rebinding bool, wait time.Duration) (*T, error), tell func(rebinding bool, err error)) (T, error) {
	var none T
	if t.Lease == 0 {
		<-ctx.Done()
		return none, ctx.Err()
	}
	at := func(d time.Duration) time.Duration { return time.Until(t.From.Add(d)) }
	if err := Pause(ctx, at(t.T1)); err != nil {
		return none, err
	}
	for at(t.Lease) > 0 {
		rebinding, until := false, t.T2
		if at(t.T2) <= 0 {
			rebinding, until = true, t.Lease
		}
		// Half of what is left, but not more often than once a minute, or an
		// eighth of a short lease.
		wait := max(at(until)/2, min(time.Minute, t.Lease/8))
		wait = max(min(wait, at(until)), 10*time.Millisecond)
		next, err := once(rebinding, wait)
		if err == nil && next != nil {
			return *next, nil
		}
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		if errors.Is(err, ErrLost) {
			return none, err
		}
		if err != nil {
			tell(rebinding, err)
			if err := Pause(ctx, wait); err != nil {
				return none, err
			}
		}
	}
	return none, ErrExpired
}
