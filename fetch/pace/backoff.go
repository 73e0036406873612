// Package pace says how patient a download is: the waits between tries, the
// speed below which a body counts as stalled, and when several streams are
// worth their while.
package pace

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long a mirror is left alone after a failure: a random time
// between 0 and Base·2ⁿ, at most Cap ("full jitter"), where n counts its
// failures since it last delivered.
//
// The defaults are for machines that lose power together: of two hundred that
// all find their server down for ten seconds, no second sees more than three
// times the mean of their retries (TestRetriesAreSpread). A smaller Base has
// all of them come back at once, and a larger Cap thins the last ones out and
// keeps them waiting long after the server is up.
type Backoff struct {
	Base time.Duration // default 4 s
	Cap  time.Duration // default 10 s
}

// WithDefaults fills in what is not given.
func (b Backoff) WithDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 4 * time.Second
	}
	if b.Cap <= 0 {
		b.Cap = 10 * time.Second
	}
	return b
}

// Resume draws the time to wait after a body that brought something broke off:
// its server is most likely there.
func (b Backoff) Resume(rng *rand.Rand) time.Duration {
	return time.Duration(rng.Int64N(int64(min(b.Base/4, b.Cap)) + 1))
}

// Delay draws the time to wait after the n-th failure in a row (0: the first).
// What the server asked for with Retry-After is kept, with up to as much again
// on top, so that those it told the same don't come back together.
func (b Backoff) Delay(rng *rand.Rand, n int, retryAfter time.Duration) time.Duration {
	ceiling := b.Cap
	if n < 32 && b.Base<<n > 0 && b.Base<<n < b.Cap {
		ceiling = b.Base << n
	}
	if retryAfter > 0 {
		ceiling = max(ceiling, retryAfter)
	}
	return retryAfter + time.Duration(rng.Int64N(int64(ceiling)+1))
}

// NewRand spreads neighbouring seeds (MAC addresses of one delivery of
// machines) far apart: splitmix64.
func NewRand(seed uint64) *rand.Rand {
	mix := func(z uint64) uint64 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	const golden = 0x9e3779b97f4a7c15
	return rand.New(rand.NewPCG(mix(seed+golden), mix(seed^golden)))
}
