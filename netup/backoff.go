package netup

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff yields waiting times that double from a first one up to a limit,
// each with jitter, so that a thousand machines switched on together drift
// apart (RFC 2131 section 4.1).
type backoff struct {
	first, limit time.Duration
	n            int
	rng          *rand.Rand
}

// retransmit is the schedule of a DHCP message: 300–500 ms first, ever longer
// up to about 8 s.
func retransmit(rng *rand.Rand) *backoff {
	return &backoff{first: 400 * time.Millisecond, limit: 8 * time.Second, rng: rng}
}

func (b *backoff) next() time.Duration {
	d := b.first << min(b.n, 16)
	if d > b.limit || d <= 0 {
		d = b.limit
	}
	b.n++
	return d*3/4 + time.Duration(b.rng.Int64N(int64(d)/2))
}

// newRand gives each link its own sequence even where the kernel had no
// entropy yet when it started this process. It never blocks.
func newRand(mac []byte) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range mac {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(rand.Uint64()^uint64(time.Now().UnixNano()), h))
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
