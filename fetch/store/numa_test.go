package store

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An image is spread over the nodes of a machine that has several, where the
// kernel knows how.
func TestMemoryOfSeveralNodes(t *testing.T) {
	for online, spread := range map[string]bool{"0\n": false, "": false, "1\n": false, "0-1\n": true, "0,2\n": true, "0-3,8\n": true} {
		options := memoryOptions(online, false)
		if got := strings.Contains(options[0], "mpol=interleave"); got != spread {
			t.Errorf("%q: %q", online, options)
		}
		if last := options[len(options)-1]; last != "mode=0700" {
			t.Errorf("%q: the last resort is %q", online, last)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	for _, options := range memoryOptions("0-1", false) {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options+",size=2M"); err == nil {
			unix.Unmount(dir, 0)
			return
		}
	}
	t.Error("this kernel takes none of them")
}
