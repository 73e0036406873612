package stage1

import (
	"errors"
	"slices"
	"testing"

	"netstage/stage1/fault"
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

// Only what an operator may leave out is ever left out: a step that the boot
// needs is run again instead.
func TestOnlyOptionalStepsAreLeftOut(t *testing.T) {
	var next []string
	s := story{choose: func(f fault.Failure) fault.Choice { next = append(next, f.Next); return fault.Continue }}
	optional := s.step("a", errors.New("no"))
	optional.Optional = true
	last := s.step("c", errors.New("no"))
	last.Optional = true
	if choice, _ := s.run(optional, s.step("b", errors.New("no"), nil), last); choice != "" {
		t.Errorf("choice %q", choice)
	}
	s.expect(t, "a", "a: failed", "b", "b: failed", "b", "c", "c: failed")
	if want := []string{"b", "", "stage 2"}; !slices.Equal(next, want) {
		t.Errorf("next %q, want %q", next, want)
	}
}

// No step that finds or verifies the image, or makes the root, can be left
// out, nor the one that reads what must vouch for it.
func TestOptionalSteps(t *testing.T) {
	var optional []string
	for _, step := range (&Boot{}).steps() {
		if step.Optional {
			optional = append(optional, step.Name)
		}
		if slices.Index(StepNames, step.Name) >= firstBreak && step.Stands == "" {
			t.Errorf("whoever stops before %s does not hear where the boot stands", step.Name)
		}
	}
	if want := []string{"modules", "devices", "network", "handover"}; !slices.Equal(optional, want) {
		t.Errorf("optional steps %q, want %q", optional, want)
	}
}
