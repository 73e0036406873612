package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Every breakpoint stops where it says, and "exit 0" goes on to stage 2.
func TestBreakpoints(t *testing.T) {
	t.Parallel()
	for cmdline, test := range map[string]struct{ step, command, answer string }{
		"boot.debug1":         {"modules", "cat /proc/cmdline", "boot.debug1"},
		"debug1":              {"modules", "ls -d /mnt-root/nix; echo status=$?", "status=1"},
		"boot.debug1devices":  {"network", "ip link", "lo"},
		"boot.break=image":    {"image", "ls /", "nix-store.squashfs"},
		"boot.break=root":     {"root", "echo $$ | grep -c .", "1"},
		"boot.debug1mounts":   {"handover", "ls -d /mnt-root/nix/store", "/mnt-root/nix/store"},
		"boot.break=handover": {"handover", "mount | grep ro-store", "squashfs"},
	} {
		t.Run(cmdline, scenario{
			copies: inInitrd, cmdline: "init={init} " + cmdline,
			story: []step{
				shows(fmt.Sprintf("breakpoint before step %q", test.step)), prompt,
				types(test.command + "\r"), shows(test.command, test.answer), // the echo comes first
				types("exit\r"),
			},
		}.run)
	}
}

// Leaving the shell of a breakpoint with another status opens the menu; from
// there the machine can be rebooted.
func TestBreakpointMenu(t *testing.T) {
	scenario{
		copies: inInitrd, cmdline: "init={init} boot.debug1",
		story: []step{
			prompt, types("exit 1\r"),
			shows("boot failed: breakpoint", "i shell, f shell as PID 1, c continue with modules, r reboot", "any other: the shell again"),
			types("i"), prompt, types("exit 3\r"), shows("r reboot"), types("c"),
		},
		shown: []string{`breakpoint before step "modules" (index the drivers of this kernel): the command line is read, no driver is loaded; "exit 0" runs it and goes on, "exit 1" opens the menu`},
	}.run(t)
}

// broken is a boot that fails for want of an init until the operator, or a
// test, puts one there.
const broken = "init=/nix/store/missing/init "

func TestFailureMenu(t *testing.T) {
	t.Parallel()
	fails := shows("boot failed: no-init", "Keys: ")
	retried := shows("image (6/8)")
	var keys []step
	for _, key := range []string{"i", "f", "\x03", "\x1a", "\x1c", "\x04"} {
		keys = append(keys, types(key), retried, menu)
	}
	kill := func(pattern string) step {
		return types("for p in $(ps | grep '" + pattern + "' | while read pid rest; do echo $pid; done); do kill -9 $p; done\r")
	}
	for name, s := range map[string]scenario{
		"i opens a shell, exit 0 retries": {
			cmdline: "boot.shell_on_fail",
			story: []step{
				fails, types("i"), prompt, types("echo tty=$(ls -l /proc/self/fd/0 | grep -c /dev/ttyS0)\r"), shows("tty=1"),
				types("exit\r"), retried, shows("boot failed: no-init"), types("r"),
			},
			ends: rebooted,
		},
		"f makes PID 1 the shell": {
			cmdline: "boot.shell_on_fail",
			story: []step{
				fails, types("f"), prompt,
				types("echo pid=$(ls -l /proc/1/exe | grep -c init) name=$(cat /proc/1/cmdline)\r"), shows("pid=1 name=sh"),
				// It inherits what is orphaned, and collects it.
				types("sh -c 'sleep 301' & sleep 0.5\r"), kill("sh -c slee[p]"),
				types("until grep -q ') S 1 ' $(ls -d /proc/[0-9]*/stat | grep -v /1/); do sleep 0.1; done; echo orph''aned\r"), shows("orphaned"),
				kill("slee[p] 301"),
				types("while grep -q ') Z ' /proc/[0-9]*/stat || ps | grep -q 'slee[p] 301'; do sleep 0.1; done; echo rea''ped\r"), shows("reaped"),
				types("exit\r"),
			},
			ends: rebooted,
		},
		"no key leads to a shell that is not allowed": {
			cmdline: "boot.fail_timeout=60",
			story:   append(append([]step{fails}, keys...), types("r")),
			ends:    rebooted, shown: []string{"!leaves it", "!i shell"},
		},
		"what can be looked at": {
			story: []step{
				fails, types("l"), shows("root (7/8): mount the new root", "q: menu"), types("q"),
				shows("Keys: r reboot, d kernel log, l agent log, n network, any other: retry"), types("n"), shows("no network card"), types("q"),
				menu, types("c"), // not offered: there would be no root
				shows("root (7/8): no-init", "attempt 2"), menu, types("r"),
			},
			ends: rebooted, shown: []string{"!leaves it", "!c continue"},
		},
		"nobody is there": {cmdline: "boot.fail_timeout=1", story: []step{fails}, ends: rebooted, shown: []string{"!leaves it"}},
		"panic on request": {
			cmdline: "boot.panic_on_fail",
			ends:    panicked, shown: []string{"!boot failed", "no-init"},
			kmsg: []string{"<1>stage-1-init: boot.panic_on_fail: no-init: "},
		},
	} {
		s.copies, s.cmdline = inInitrd, broken+s.cmdline
		t.Run(name, s.run)
	}
}

// A network that an operator sets up by hand is as good as any other: the boot
// goes on after the step that failed.
func TestContinueByHand(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]string{
		"a URL":                    "rootfs={url}",
		"relative to rootfs.base=": "rootfs=image.squashfs rootfs.base={dir}",
	} {
		t.Run(name, scenario{
			lan:     &network{noDHCP: true},
			cmdline: "boot.shell_on_fail boot.network_timeout=1 init={init} rootfs.sha256={sha256} " + place,
			story: []step{
				shows("boot failed: no-lease", "c continue with image"), types("i"), prompt,
				types("ip link set eth0 up; ip addr add 10.77.0.99/24 dev eth0; exit 1\r"),
				menu, types("n"), shows("10.77.0.99/24"), types("q"),
				menu, types("c"), shows("network (5/8): left out"),
			},
			shown: []string{"verified"},
		}.run)
	}
}

// While the boot waits no key does anything: no shell, no stop, no end.
func TestKeysWhileTheBootWaits(t *testing.T) {
	scenario{
		lan:     &network{noDHCP: true},
		cmdline: "boot.shell_on_fail init={init} rootfs={url}",
		story:   []step{shows("still waiting"), types("\x03\x1a\x1c\x04if\r\n\x03"), dhcp()},
		shown:   []string{"!leaves it", "!boot failed"},
	}.run(t)
}

// Whatever kills the child that does the work, PID 1 tells how it died, and a
// key starts the boot again, which then succeeds.
func TestChildIsKilled(t *testing.T) {
	t.Parallel()
	for signal, class := range map[syscall.Signal]string{syscall.SIGKILL: "killed", syscall.SIGSEGV: "panic", syscall.SIGABRT: "panic"} {
		t.Run(signal.String(), scenario{
			lan:     &network{noDHCP: true},
			cmdline: "init={init} rootfs={url}",
			story: []step{
				shows("still waiting"), signals(signal), shows("boot failed: " + class), menu,
				dhcp(), types(" "), shows("pseudo (1/8)"),
			},
		}.run)
	}
}

// With the child dies the shell that it had opened: the keys are the menu's.
func TestShellDiesWithTheChild(t *testing.T) {
	scenario{
		copies: inInitrd, cmdline: "init={init} boot.debug1",
		story: []step{
			prompt, types("echo re''ady\r"), shows("ready"), signals(syscall.SIGKILL), shows("boot failed: killed"), menu, types("r"),
		},
		ends: rebooted,
	}.run(t)
}

// childNamed finds a child of process parent by its argv[0].
func childNamed(t *testing.T, parent int, name string) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		status, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			continue
		}
		argv, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || !strings.HasPrefix(string(argv), name+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/status", &pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("process %d has no child %q", parent, name)
	return 0
}

// Ctrl-C ends the command and not the shell.
func TestShellSurvivesCtrlC(t *testing.T) {
	scenario{
		copies: inInitrd, cmdline: "init={init} boot.debug1",
		story: []step{
			prompt, types("echo be''gun; sleep 1000\r"), shows("begun"), // not the echo of what was typed
			types("\x03"), types("echo a''live\r"), shows("alive"), types("exit\r"),
		},
	}.run(t)
}
