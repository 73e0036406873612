package stage1

import (
	"slices"
	"testing"
)

// No step that finds or verifies the image, or makes the root, can be left
// out, nor the one that reads what must vouch for it.
func TestOptionalSteps(t *testing.T) {
	var optional []string
	for _, s := range story() {
		if s.Optional {
			optional = append(optional, s.Name)
		}
		if !s.Early && s.StateBefore == "" {
			t.Errorf("whoever stops before %s does not hear where the boot stands", s.Name)
		}
	}
	if want := []string{"modules", "devices", "network", "handover"}; !slices.Equal(optional, want) {
		t.Errorf("optional steps %q, want %q", optional, want)
	}
}

// Every step says what it does, and those that run before the command line is
// known are the first ones: no breakpoint can stop there.
func TestStory(t *testing.T) {
	for i, s := range new(Boot).steps() {
		if s.Name != StepNames()[i] || s.Title == "" || s.Run == nil || s.Early != (i < 2) {
			t.Errorf("step %d is %+v", i, s)
		}
	}
}
