package fetch

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long a mirror is left alone after a failure: a random time between 0 and Base·2ⁿ, at most Cap
// ("full jitter"), where n counts its failures since it last delivered. A thousand machines that lose their server at
// once come back spread out.
type Backoff struct {
	Base time.Duration // default 500 ms
	Cap  time.Duration // default 30 s
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 500 * time.Millisecond
	}
	if b.Cap <= 0 {
		b.Cap = 30 * time.Second
	}
	return b
}

// delay draws the time to wait after the n-th failure in a row (0: the first). What the server asked for with
// Retry-After is kept, with up to half as much again on top.
func (b Backoff) delay(rng *rand.Rand, n int, retryAfter time.Duration) time.Duration {
	ceiling := b.Cap
	if n < 32 && b.Base<<n > 0 && b.Base<<n < b.Cap {
		ceiling = b.Base << n
	}
	if retryAfter > 0 {
		return retryAfter + time.Duration(rng.Int64N(int64(retryAfter/2)+1))
	}
	return time.Duration(rng.Int64N(int64(ceiling) + 1))
}

// newRand spreads neighbouring seeds (MAC addresses of one delivery of machines) far apart: splitmix64.
func newRand(seed uint64) *rand.Rand {
	mix := func(z uint64) uint64 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	const golden = 0x9e3779b97f4a7c15
	return rand.New(rand.NewPCG(mix(seed+golden), mix(seed^golden)))
}
