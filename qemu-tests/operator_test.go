package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// allInOne is a machine whose image is in the initrd: nothing to wait for.
func allInOne(t *testing.T, cmdline string) *nsmachine.Machine {
	t.Helper()
	a := store(t, classic())
	return boot(t, nsmachine.Config{Files: map[string]string{"/nix-store.squashfs": a.path}, Cmdline: "init=" + system.Init + " " + cmdline})
}

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
		t.Run(cmdline, func(t *testing.T) {
			t.Parallel()
			m := allInOne(t, cmdline)
			m.Expect(fmt.Sprintf("breakpoint before step %q", test.step))
			m.Expect("leaves it")
			m.Type(test.command + "\r")
			m.Expect(test.command) // the echo
			m.Expect(test.answer)
			m.Type("exit\r")
			expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
		})
	}
}

// Leaving the shell of a breakpoint with another status opens the menu; from
// there the machine can be rebooted.
func TestBreakpointMenu(t *testing.T) {
	t.Parallel()
	m := allInOne(t, "boot.debug1")
	m.Expect("leaves it")
	m.Type("exit 1\r")
	m.Expect("boot failed: breakpoint")
	m.Expect("i shell, f shell as PID 1, c continue with modules, r reboot")
	m.Expect("any other: the shell again")
	m.Type("i")
	m.Expect("leaves it")
	m.Type("exit 3\r")
	m.Expect("r reboot")
	m.Type("c")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", `breakpoint before step "modules" (index the drivers of this kernel): the command line is read, no driver is loaded; "exit 0" runs it and goes on, "exit 1" opens the menu`)
}

// broken is a boot that fails for want of an init until the operator, or a
// test, puts one there.
const broken = "init=/nix/store/missing/init "

func TestFailureMenu(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	files := map[string]string{"/nix-store.squashfs": a.path}
	start := func(t *testing.T, cmdline string) *nsmachine.Machine {
		t.Parallel()
		m := boot(t, nsmachine.Config{Files: files, Cmdline: broken + cmdline})
		m.Expect("boot failed: no-init")
		m.Expect("Keys: ")
		return m
	}
	t.Run("i opens a shell, exit 0 retries", func(t *testing.T) {
		m := start(t, "boot.shell_on_fail")
		m.Type("i")
		m.Expect("leaves it")
		m.Type("echo tty=$(ls -l /proc/self/fd/0 | grep -c /dev/ttyS0)\r")
		m.Expect("tty=1")
		m.Type("exit\r")
		m.Expect("image (6/8)")
		m.Expect("boot failed: no-init")
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted)
	})
	t.Run("f makes PID 1 the shell", func(t *testing.T) {
		m := start(t, "boot.shell_on_fail")
		m.Type("f")
		m.Expect("leaves it")
		m.Type("echo pid=$(ls -l /proc/1/exe | grep -c init) name=$(cat /proc/1/cmdline)\r")
		m.Expect("pid=1 name=sh")
		// It inherits what is orphaned, and collects it.
		m.Type("sh -c 'sleep 301' & sleep 0.5\r")
		kill := "for p in $(ps | grep '%s' | while read pid rest; do echo $pid; done); do kill -9 $p; done\r"
		m.Type(fmt.Sprintf(kill, "sh -c slee[p]"))
		m.Type("until grep -q ') S 1 ' $(ls -d /proc/[0-9]*/stat | grep -v /1/); do sleep 0.1; done; echo orph''aned\r")
		m.Expect("orphaned")
		m.Type(fmt.Sprintf(kill, "slee[p] 301"))
		m.Type("while grep -q ') Z ' /proc/[0-9]*/stat || ps | grep -q 'slee[p] 301'; do sleep 0.1; done; echo rea''ped\r")
		m.Expect("reaped")
		m.Type("exit\r")
		expectEnd(t, m, nsmachine.Rebooted)
	})
	t.Run("no key leads to a shell that is not allowed", func(t *testing.T) {
		m := start(t, "boot.fail_timeout=60")
		for _, key := range []string{"i", "f", "\x03", "\x1a", "\x1c", "\x04"} {
			m.Type(key)
			m.Expect("image (6/8)") // retried instead
			m.Expect("Keys: ")
		}
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted, "!leaves it", "!i shell")
	})
	t.Run("what can be looked at", func(t *testing.T) {
		m := start(t, "")
		m.Type("l")
		m.Expect("root (7/8): mount the new root")
		m.Expect("q: menu")
		m.Type("q")
		m.Expect("Keys: r reboot, d kernel log, l agent log, n network, any other: retry")
		m.Type("n")
		m.Expect("no network card")
		m.Type("q")
		m.Expect("Keys: ")
		m.Type("c") // not offered: there would be no root
		m.Expect("root (7/8): no-init")
		m.Expect("attempt 2")
		m.Expect("Keys: ")
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted, "!leaves it", "!c continue")
	})
	t.Run("nobody is there", func(t *testing.T) {
		expectEnd(t, start(t, "boot.fail_timeout=1"), nsmachine.Rebooted, "!leaves it")
	})
	t.Run("panic on request", func(t *testing.T) {
		t.Parallel()
		m := boot(t, nsmachine.Config{Files: files, Cmdline: broken + "boot.panic_on_fail"})
		expectEnd(t, m, nsmachine.Panicked, "!boot failed", "no-init")
		m.ExpectKmsg("<1>stage-1-init: boot.panic_on_fail: no-init: ")
	})
}

// A network that an operator sets up by hand is as good as any other: the boot
// goes on after the step that failed.
func TestContinueByHand(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.shell_on_fail boot.network_timeout=1 init=" + system.Init + " rootfs.sha256=" + a.sha256 + " rootfs=" + url})
	m.Expect("boot failed: no-lease")
	m.Expect("c continue with image")
	m.Type("i")
	m.Expect("leaves it")
	m.Type("ip link set eth0 up; ip addr add 10.77.0.99/24 dev eth0; exit 1\r")
	m.Expect("Keys: ")
	m.Type("n")
	m.Expect("10.77.0.99/24")
	m.Type("q")
	m.Expect("Keys: ")
	m.Type("c")
	m.Expect("network (5/8): left out")
	expectEnd(t, m, nsmachine.PoweredOff, "verified", "stage 2 done")
}

// While the boot waits no key does anything: no shell, no stop, no end.
func TestKeysWhileTheBootWaits(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	_, url := serve(t, lan, store(t, classic()))
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.shell_on_fail init=" + system.Init + " rootfs=" + url})
	m.Expect("still waiting")
	m.Type("\x03\x1a\x1c\x04if\r\n\x03")
	lan.DHCP(t)
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "!leaves it", "!boot failed")
}

// Whatever kills the child that does the work, PID 1 tells how it died, and a
// key starts the boot again, which then succeeds.
func TestChildIsKilled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		signal syscall.Signal
		class  string
	}{
		"SIGKILL": {syscall.SIGKILL, "killed"}, "SIGSEGV": {syscall.SIGSEGV, "panic"}, "SIGABRT": {syscall.SIGABRT, "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			a := store(t, classic())
			_, url := serve(t, lan, a)
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "init=" + system.Init + " rootfs=" + url})
			m.Expect("still waiting")
			if err := syscall.Kill(childNamed(t, m.Pid(), "boot"), test.signal); err != nil {
				t.Fatal(err)
			}
			m.Expect("boot failed: " + test.class)
			m.Expect("Keys: ")
			lan.DHCP(t)
			m.Type(" ")
			m.Expect("pseudo (1/8)")
			expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
		})
	}
}

// With the child dies the shell that it had opened: the keys are the menu's.
func TestShellDiesWithTheChild(t *testing.T) {
	t.Parallel()
	m := allInOne(t, "boot.debug1")
	m.Expect("leaves it")
	m.Type("echo re''ady\r")
	m.Expect("ready")
	if err := syscall.Kill(childNamed(t, m.Pid(), "boot"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.Expect("boot failed: killed")
	m.Expect("Keys: ")
	m.Type("r")
	expectEnd(t, m, nsmachine.Rebooted)
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
	t.Parallel()
	m := allInOne(t, "boot.debug1")
	m.Expect("leaves it")
	m.Type("echo be''gun; sleep 1000\r")
	m.Expect("begun") // not the echo of what was typed
	m.Type("\x03")
	m.Type("echo a''live\r")
	m.Expect("alive")
	m.Type("exit\r")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
}
