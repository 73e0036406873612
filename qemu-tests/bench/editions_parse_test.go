package bench

import (
	"strings"
	"testing"
	"time"
)

func TestParseEdition(t *testing.T) {
	const console = "bench: initrd 2000000\nbench: userspace 5500000\nbench: multi-user 9000000\n"
	boot, err := ParseEdition(console)
	if err != nil || boot.Stage2 != 3500*time.Millisecond || boot.MultiUser != 7*time.Second {
		t.Errorf("%+v, %v", boot, err)
	}
	for _, wrong := range []string{"", strings.Replace(console, "userspace", "x", 1), strings.Replace(console, "5500000", "500000", 1), strings.Replace(console, "9000000", "900000", 1), strings.Replace(console, "9000000", "99999999999999999999", 1)} {
		if boot, err := ParseEdition(wrong); err == nil {
			t.Errorf("%q gives %+v", wrong, boot)
		}
	}
}
