package kmsg

import (
	"fmt"
	"os"
	"strings"
)

// LimitPath is the sysctl that says how much user space may log. Its default,
// "ratelimit", drops all but ten lines in five seconds
// (Documentation/admin-guide/sysctl/kernel.rst, printk_devkmsg).
const LimitPath = "/proc/sys/kernel/printk_devkmsg"

// Unlimit sets the sysctl at path (LimitPath when empty) to "on" if it says
// "ratelimit". "off" was somebody's wish and stays. It reports whether it
// changed anything.
func Unlimit(path string) (bool, error) {
	if path == "" {
		path = LimitPath
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("kernel log limit: %w", err)
	}
	if strings.TrimSpace(string(b)) != "ratelimit" {
		return false, nil
	}
	if err := os.WriteFile(path, []byte("on\n"), 0o644); err != nil {
		return false, fmt.Errorf("kernel log limit: %w", err)
	}
	return true, nil
}
