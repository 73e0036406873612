package kmsg

import (
	"fmt"
	"os"
	"strings"
)

// LimitPath is the sysctl that says how much user space may log. Its default,
// "ratelimit", drops all but ten lines in five seconds of each opening
// (Documentation/admin-guide/sysctl/kernel.rst, printk_devkmsg).
const LimitPath = "/proc/sys/kernel/printk_devkmsg"

// Unlimit sets the sysctl at path (LimitPath when empty) to "on" if it says
// "ratelimit", for the programs that are started next; where printk.devkmsg= of
// the command line says so, too, it stays. Off was somebody's wish as well: it
// reports that the kernel drops all that is logged, and says nothing of it.
func Unlimit(path string) (off bool, err error) {
	if path == "" {
		path = LimitPath
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("kernel log limit: %w", err)
	}
	switch strings.TrimSpace(string(b)) {
	case "off":
		return true, nil
	case "ratelimit":
		_ = os.WriteFile(path, []byte("on\n"), 0o644) // a Writer loses nothing all the same
	}
	return false, nil
}
