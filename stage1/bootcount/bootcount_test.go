package bootcount

import (
	"testing"
	"time"
)

// The delay doubles up to sixteen times, with up to a quarter more; machines
// differ; none waits where the first would not.
func TestRebootDelay(t *testing.T) {
	for before, times := range []time.Duration{1, 2, 4, 8, 16, 16, 16} {
		seen := map[time.Duration]bool{}
		for range 100 {
			delay := RebootDelay(time.Minute, before)
			if least := times * time.Minute; delay < least || delay >= least+least/4 {
				t.Errorf("after %d: %v", before, delay)
			}
			seen[delay] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %d: only %d different delays", before, len(seen))
		}
	}
	if delay := RebootDelay(0, 3); delay != 0 {
		t.Errorf("for ever has become %v", delay)
	}
}

func TestCountWords(t *testing.T) {
	for before, want := range map[int]string{0: "", 1: "failed boot 2 in a row", 3: "failed boot 4 in a row", mostDoublings: "failed boot 5 in a row, or more"} {
		if got := (Count{Before: before}).Words(); got != want {
			t.Errorf("after %d: %q", before, got)
		}
	}
}

// A machine that can't remember is asked for nothing.
func TestCountOfAMachineWithoutMemory(t *testing.T) {
	if err := (Count{}).Grow(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (Count{}).Forget(t.Context()); err != nil {
		t.Error(err)
	}
}
