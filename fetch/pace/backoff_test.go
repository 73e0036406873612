package pace

import (
	"slices"
	"testing"
	"time"
)

// TestRetriesAreSpread has two hundred machines that start in the same instant
// find a server that fails for ten seconds: of the seconds in which they may
// come back, none sees more than three times the mean of their retries.
func TestRetriesAreSpread(t *testing.T) {
	const machines, down = 200, 10 * time.Second
	b := Backoff{}.WithDefaults()
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
				rng, at := NewRand(c.firstMAC+machine), time.Duration(0)
				for n := 0; at < down; n++ {
					at += b.Delay(rng, n, c.retryAfter)
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

func TestBackoffSpreadsMachines(t *testing.T) {
	// 200 machines with consecutive MAC addresses lose their server together,
	// which fails for 10 s.
	b := Backoff{}.WithDefaults()
	perSecond := map[int]int{}
	for seed := range uint64(200) {
		rng, at := NewRand(0x525400000000+seed), time.Duration(0)
		for n := 0; at < 10*time.Second; n++ {
			d := b.Delay(rng, n, 0)
			if d < 0 || d > b.Cap || d > b.Base<<n {
				t.Fatalf("delay %d is %v", n, d)
			}
			at += d
			perSecond[int(at/time.Second)]++
		}
	}
	late := 0 // the requests that come back after 10 s: they must not march in step
	for s, n := range perSecond {
		if s >= 10 && n > 100 {
			t.Errorf("second %d has %d of 200 machines", s, n)
		}
		if s >= 10 {
			late++
		}
	}
	if late < 5 {
		t.Errorf("all machines are back within %d s", late)
	}
	if a, b := b.Delay(NewRand(1), 3, 0), b.Delay(NewRand(2), 3, 0); a == b {
		t.Error("two machines wait for the same time")
	}
	if d := b.Delay(NewRand(1), 0, 4*time.Second); d < 4*time.Second || d > 8*time.Second {
		t.Errorf("Retry-After of 4 s became %v", d)
	}
}
