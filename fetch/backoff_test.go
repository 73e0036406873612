package fetch

import (
	"slices"
	"testing"
	"time"
)

// TestRetriesAreSpread has two hundred machines that start in the same instant find a server that fails for ten
// seconds: of the seconds in which they may come back, none sees more than three times the mean of their retries.
func TestRetriesAreSpread(t *testing.T) {
	const machines, down = 200, 10 * time.Second
	b := Backoff{}.withDefaults()
	for name, c := range map[string]struct {
		retryAfter time.Duration
		firstMAC   uint64
	}{
		"refused":             {0, 0x52_54_00_12_34_56},
		"refused, others":     {0, 0xb8_27_eb_00_00_00},
		"Retry-After":         {time.Second, 0x52_54_00_12_34_56},
		"Retry-After, others": {time.Second, 0xb8_27_eb_00_00_00},
		"a long Retry-After":  {10 * time.Second, 0x52_54_00_12_34_56},
	} {
		t.Run(name, func(t *testing.T) {
			var perSecond []int
			retries := 0
			for machine := range uint64(machines) {
				rng, at := newRand(c.firstMAC+machine), time.Duration(0)
				for n := 0; at < down; n++ {
					at += b.delay(rng, n, c.retryAfter)
					second := int((at - c.retryAfter) / time.Second)
					perSecond = append(perSecond, make([]int, max(0, second+1-len(perSecond)))...)
					perSecond[second]++
					retries++
				}
			}
			peak, mean := slices.Max(perSecond), float64(retries)/float64(len(perSecond))
			t.Logf("%d retries, at most %d in a second, %.1f times the mean: %v", retries, peak, float64(peak)/mean, perSecond)
			if float64(peak) > 3*mean {
				t.Errorf("%d retries in a second where the mean is %.1f: %v", peak, mean, perSecond)
			}
			if worst := time.Duration(len(perSecond)) * time.Second; worst > 2*down+c.retryAfter {
				t.Errorf("the last machine comes back after %v, the server after %v", worst, down)
			}
		})
	}
}
