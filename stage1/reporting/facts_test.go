package reporting

import (
	"slices"
	"testing"

	"netstage/stage1/report"
)

func TestMirrorsInALine(t *testing.T) {
	d := Download{Mirrors: []report.Mirror{
		{URL: "http://10.0.2.2:8080/a.squashfs", Answer: "10.0.2.2:8080: 404 Not Found for http://10.0.2.2:8080/a.squashfs", Faults: 1},
		{URL: "https://b.example/a.squashfs", Answer: "b.example: connection reset", Bytes: 5 << 20, Faults: 7},
		{URL: "http://c.example/a.squashfs"},
		{URL: "http://d.example/a.squashfs", Answer: "d.example serves a wrong image", Faults: 1},
	}}
	want := []string{"10.0.2.2:8080: 404 Not Found", "b.example: connection reset, 5 MiB, 7 faults", "c.example: not asked", "d.example: serves a wrong image"}
	if got := mirrorLines(d); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
