package pace

import (
	"testing"
	"time"
)

func TestETA(t *testing.T) {
	for _, c := range []struct {
		left int64
		rate float64
		want time.Duration
	}{
		{1 << 20, 1 << 20, time.Second},
		{0, 1, 0},
		{1 << 30, 0, -1},
		{1 << 30, 1.6, -1}, // 662961832 s
		{-1, 1, -1},
	} {
		if got := ETA(c.left, c.rate); got != c.want {
			t.Errorf("%d bytes at %g: %v, want %v", c.left, c.rate, got, c.want)
		}
	}
}
