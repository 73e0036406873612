package pid1

import (
	"fmt"
	"os"
	"strings"
	"unicode"

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
	panicSetting  = "/proc/sys/kernel/panic"
	panicRestarts = 60 // seconds: enough to read a screen
	panicLeftOver = "/run/sysctl.d/00-netstage-panic.conf"
)

// rebootAfterPanic has a kernel that panics start the machine again, unless
// the command line or the kernel's maker decided.
func rebootAfterPanic() {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil || saysPanic(string(line)) {
		return
	}
	if found, err := os.ReadFile(panicSetting); err == nil && strings.TrimSpace(string(found)) == "0" {
		os.WriteFile(panicSetting, fmt.Append(nil, panicRestarts), 0)
	}
}

// restorePanicSetting has the systemd of stage 2 set what was found, as the least of
// its settings (sysctl.d(5)): from then on somebody else is in charge. An init
// that fails before ends in a reboot.
func restorePanicSetting() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil || saysPanic(string(line)) {
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

// saysPanic tells whether a kernel command line says what is to happen after a
// panic: by the parameter, or by that of the sysctl (fs/proc/proc_sysctl.c).
// The kernel takes '-' for '_' in names, and blanks in quotes for part of a
// word; what follows "--" is init's.
func saysPanic(line string) bool {
	quoted := false
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return unicode.IsSpace(r) && !quoted
	}) {
		word = strings.Trim(word, `"`)
		if word == "--" {
			return false
		}
		switch name, _, _ := strings.Cut(word, "="); name {
		case "panic", "sysctl.kernel.panic", "sysctl.kernel/panic":
			return true
		}
	}
	return false
}
