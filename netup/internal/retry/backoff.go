// Package retry has the waits between tries: of messages, of what drivers
// refuse, of a lease that is to be renewed.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff yields waiting times that double from a first one up to a limit,
// each with jitter, so that a thousand machines switched on together drift
// apart (RFC 2131 section 4.1).
type Backoff struct {
	first, limit time.Duration
	n            int
	rng          *rand.Rand
}

// New is a Backoff from first up to limit.
func New(first, limit time.Duration, rng *rand.Rand) *Backoff {
	return &Backoff{first: first, limit: limit, rng: rng}
}

// Retransmit is the schedule of a DHCP message: 300–500 ms first, ever longer
// up to about 8 s.
func Retransmit(rng *rand.Rand) *Backoff {
	return New(400*time.Millisecond, 8*time.Second, rng)
}

// Next is the next waiting time.
func (b *Backoff) Next() time.Duration {
	d := b.first << min(b.n, 16)
	if d > b.limit || d <= 0 {
		d = b.limit
	}
	b.n++
	return d*3/4 + time.Duration(b.rng.Int64N(int64(d)/2))
}

// Reset starts again with the first waiting time.
func (b *Backoff) Reset() { b.n = 0 }

// Count is how many waiting times there were since the start.
func (b *Backoff) Count() int { return b.n }

// Rand gives each link its own sequence even where the kernel had no entropy
// yet when it started this process. It never blocks.
func Rand(mac []byte) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range mac {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(rand.Uint64()^uint64(time.Now().UnixNano()), h))
}

// Pause waits for d or for the end of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
