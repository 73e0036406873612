package stream

import (
	"testing"
	"time"
)

// A worker is silent when it gave no sign while the holder lived, and its death
// was when it was last heard.
func TestPulse(t *testing.T) {
	now := time.Now()
	p := heartbeat{limit: silence}
	p.begins(now, 7)
	step := func(d time.Duration, beat uint64) bool {
		now = now.Add(d)
		return p.silent(now, beat)
	}
	if step(time.Hour, 7) || step(time.Second, 7) {
		t.Error("the machine was held up, and the worker is blamed")
	}
	for n := range uint64(200) {
		if step(time.Second, 8+n) {
			t.Fatal("one that gives signs is silent")
		}
	}
	heard, n := now, 0
	for !step(time.Second, 207) {
		if n++; n > 100 {
			t.Fatal("one that gives none is not silent")
		}
	}
	if n < 50 || step(time.Second, 207) {
		t.Errorf("told after %d s, or twice", n)
	}
	if at := p.died(now); !at.Equal(heard) {
		t.Errorf("it died %v before it was last heard", heard.Sub(at))
	}
	p.begins(now, 300)
	if at := p.died(now); !at.Equal(now) {
		t.Error("one that ended by itself died before")
	}
}
