package netup

import (
	"context"
	"errors"
	"time"
)

var (
	// errExpired says that a lease ran out before any server renewed it.
	errExpired = errors.New("the lease has run out")
	// errLost says that a server took a lease back.
	errLost = errors.New("the lease is lost")
)

// lifetimes are a lease's times, counted from when it was asked for.
type lifetimes struct {
	from             time.Time
	lease, renew, t2 time.Duration // lease 0: without end
}

// renewal waits until a lease is to be renewed and then calls once until it has
// an answer, the rebinding part after T2 (RFC 2131 section 4.4.5, RFC 8415
// sections 18.2.4 and 18.2.5). once waits for an answer no longer than wait;
// nil without an error means that none came. renewal returns the answer,
// errExpired, an error of once that is errLost, or the end of ctx; other errors
// are only told.
func renewal[T any](ctx context.Context, t lifetimes, once func(rebinding bool, wait time.Duration) (*T, error), tell func(rebinding bool, err error)) (T, error) {
	var none T
	if t.lease == 0 {
		<-ctx.Done()
		return none, ctx.Err()
	}
	at := func(d time.Duration) time.Duration { return time.Until(t.from.Add(d)) }
	if err := pause(ctx, at(t.renew)); err != nil {
		return none, err
	}
	for at(t.lease) > 0 {
		rebinding, until := false, t.t2
		if at(t.t2) <= 0 {
			rebinding, until = true, t.lease
		}
		// Half of what is left, but not more often than once a minute, or an
		// eighth of a short lease.
		wait := max(at(until)/2, min(time.Minute, t.lease/8))
		wait = max(min(wait, at(until)), 10*time.Millisecond)
		next, err := once(rebinding, wait)
		if err == nil && next != nil {
			return *next, nil
		}
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		if errors.Is(err, errLost) {
			return none, err
		}
		if err != nil {
			tell(rebinding, err)
			if err := pause(ctx, wait); err != nil {
				return none, err
			}
		}
	}
	return none, errExpired
}
