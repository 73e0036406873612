package pid1

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFirst mounts what this process needs itself: /proc tells of its
// children, and /dev has its consoles. The boot leaves alone what is mounted
// and tells of what isn't.
func mountFirst() {
	for _, m := range []struct {
		kind, target, options string
		flags                 uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=755,size=5%", unix.MS_NOSUID | unix.MS_STRICTATIME},
	} {
		var root, target unix.Stat_t
		os.Mkdir(m.target, 0o755)
		if unix.Stat("/", &root) != nil || unix.Stat(m.target, &target) != nil || root.Dev != target.Dev {
			continue
		}
		unix.Mount(m.kind, m.target, m.kind, m.flags, m.options)
	}
}

// A kernel that panics halts the machine, unless it was told to start it again
// (Documentation/admin-guide/sysctl/kernel.rst, panic). It panics, too, when
// the init of stage 2 exits.
const (
	panicSetting   = "/proc/sys/kernel/panic"
	panicRestarts  = 60 // seconds: enough to read a screen
	panicLeftOver  = "/run/sysctl.d/00-netstage-panic.conf"
	panicParameter = "panic="
)

// rebootAfterPanic has a kernel that panics start the machine again, unless
// the command line or the kernel's maker decided.
func rebootAfterPanic() {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil || hasWord(string(line), panicParameter) {
		return
	}
	if found, err := os.ReadFile(panicSetting); err == nil && strings.TrimSpace(string(found)) == "0" {
		os.WriteFile(panicSetting, fmt.Append(nil, panicRestarts), 0)
	}
}

// leavePanic has the systemd of stage 2 set what was found, as the least of
// its settings (sysctl.d(5)): from then on somebody else is in charge. An init
// that fails before ends in a reboot.
func leavePanic() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil || hasWord(string(line), panicParameter) {
		return nil
	}
	if now, err := os.ReadFile(panicSetting); err != nil || strings.TrimSpace(string(now)) != fmt.Sprint(panicRestarts) {
		return nil // not of this program's making
	}
	if err := os.MkdirAll("/run/sysctl.d", 0o755); err != nil {
		return err
	}
	return os.WriteFile(panicLeftOver, []byte("# What the kernel had before the initrd.\nkernel.panic = 0\n"), 0o644)
}

// hasWord tells whether a parameter of the kernel's is given.
func hasWord(line, prefix string) bool {
	for word := range strings.FieldsSeq(line) {
		if word == "--" {
			return false // the rest is init's
		}
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}
