package vm

import (
	"strings"
	"testing"
)

func TestVirtualizes(t *testing.T) {
	for text, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu vmx sse2\n": true,
		"processor\t: 0\nflags\t\t: fpu svm sse2\n": true,
		"processor\t: 0\nflags\t\t: fpu sse2\n":     false, // a guest of a host that lends no hardware virtualization
		"vmx flags\t: vnmi\nflags\t\t: fpu\n":       false,
		"":                                          false,
	} {
		if got := virtualizes(strings.NewReader(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
