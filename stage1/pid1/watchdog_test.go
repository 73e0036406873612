package pid1

import (
	"strings"
	"testing"
	"time"
)

func TestBeats(t *testing.T) {
	for text, want := range map[string]struct {
		seconds  int
		keep, ok bool
	}{
		Heartbeat(time.Minute, true): {60, true, true}, Heartbeat(5*time.Second, false): {5, false, true},
		"60 true\n5 false\n": {5, false, true}, "60 true\n5 fal": {60, true, true},
		"": {}, "60 true": {}, "\n": {}, "0 true\n": {0, true, true}, "-5 true\n": {-5, true, false}, "x\n": {},
	} {
		seconds, keep, ok := parseHeartbeat(text)
		if ok != want.ok || ok && (seconds != want.seconds || keep != want.keep) {
			t.Errorf("%q: %d %t %t", text, seconds, keep, ok)
		}
	}
}

func FuzzParseBeat(f *testing.F) {
	f.Add("60 true\n")
	f.Add("5 false\n60 tr")
	f.Fuzz(func(t *testing.T, text string) {
		if seconds, _, ok := parseHeartbeat(text); ok && (seconds < 0 || !strings.Contains(text, "\n")) {
			t.Errorf("%q: %d", text, seconds)
		}
	})
}
