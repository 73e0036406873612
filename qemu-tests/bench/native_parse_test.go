package bench

import (
	"strings"
	"testing"
	"time"

	"netstage/stage1/report"
)

func TestParseReport(t *testing.T) {
	got, err := parseReport(`stage-1-init: network (5/8): bring up the network
bench: report: {
bench: report:   "version": 1,
bench: report:   "state": "good",
bench: report:   "steps": [
bench: report:     {
bench: report:       "name": "network",
bench: report:       "start_ms": 40611694,
bench: report:       "duration_ms": 384
bench: report:     }
bench: report:   ]
bench: report: }
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Steps) != 1 || got.Steps[0].Name != "network" || got.Steps[0].DurationMS != 384 {
		t.Errorf("steps: %+v", got.Steps)
	}
	if _, err := parseReport("stage 2 done\n"); err == nil {
		t.Error("a console without a report has one")
	}
}

func TestWriteNative(t *testing.T) {
	boots := func(ms ...int) (all []nativeBoot) {
		for _, n := range ms {
			d := time.Duration(n) * time.Millisecond
			all = append(all, nativeBoot{d, d / 2, []report.Step{{Name: "image", DurationMS: int64(n - 30)}}})
		}
		return all
	}
	var text strings.Builder
	err := writeNative(&text, []nativeResult{{nativeCase{"10 MB", 10_000_000, false}, 11_182_080, boots(50, 400, 40), boots(60, 55, 500)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"50.0        (40.0-400.0)  60.0       (55.0-500.0)  1.20", "25.0        (20.0-200.0)", "10 MB: image 20/30"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}
