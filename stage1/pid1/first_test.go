package pid1

import (
	"strings"
	"testing"
)

func TestSaysPanic(t *testing.T) {
	for line, want := range map[string]bool{
		"quiet panic=0 init=/x": true, "panic=-1\n": true, "panic=30": true, `"panic=5"`: true,
		"sysctl.kernel.panic=0": true, "sysctl.kernel/panic=10": true,
		"": false, "quiet": false, "-- panic=5": false, "xpanic=5 panic_on_warn=1 panic_print=1": false, "x=panic=1": false,
		`note="a panic=5 b"`: false, `note="a b" panic=5`: true, `note="open panic=5`: false,
	} {
		if got := saysPanic(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// What follows "--" never counts.
func FuzzSaysPanic(f *testing.F) {
	f.Add("quiet panic=5 -- x")
	f.Add("\"a b\" c=\"d\xff panic=\"")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Count(line, `"`)%2 == 0 && saysPanic(line+" -- panic=1") != saysPanic(line) {
			t.Errorf("%q: an argument of init's counts", line)
		}
	})
}
