package reporting

import (
	"testing"
	"time"

	"netstage/fetch"
)

// A download of 100 s is told of at its tenths, not more often than each ten
// seconds, and at every fault in the file.
func TestPaceOfProgress(t *testing.T) {
	for name, c := range map[string]struct {
		took         time.Duration
		total        int64
		lines, files int
	}{
		"slow":        {100 * time.Second, 1000, 9, 101},
		"very slow":   {1000 * time.Second, 1000, 9, 1001},
		"fast":        {5 * time.Second, 1000, 0, 6},
		"in between":  {30 * time.Second, 1000, 2, 31},
		"of any size": {45 * time.Second, -1, 4, 46},
	} {
		t.Run(name, func(t *testing.T) {
			var every pace
			start := time.Now()
			lines, files := 0, 0
			for at := time.Duration(0); at <= c.took; at += 100 * time.Millisecond {
				p := fetch.Progress{Bytes: int64(1000 * at / c.took), Total: c.total}
				file, line := every.due(p, start.Add(at))
				if line {
					lines++
				}
				if file {
					files++
				}
			}
			if lines != c.lines || files != c.files {
				t.Errorf("%d lines and %d writes, want %d and %d", lines, files, c.lines, c.files)
			}
		})
	}
	var every pace
	now := time.Now()
	every.due(fetch.Progress{Bytes: 1, Total: 10}, now)
	if file, _ := every.due(fetch.Progress{Bytes: 1, Total: 10, Retries: 1}, now); !file {
		t.Error("a fault is not written down")
	}
}
