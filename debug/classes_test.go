package debug

import (
	"testing"

	"netstage/stage1/fault"
)

// Every class has an example of its screen.
func TestEveryClassHasAnExample(t *testing.T) {
	for _, class := range fault.Classes() {
		if _, ok := examples()[class]; !ok {
			t.Errorf("the class %q has no example of its screen", class)
		}
	}
}
