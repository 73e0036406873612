package qemutests

import (
	"strings"
	"testing"

	"netstage/qemu-tests/nsmachine"
)

// misbehave boots an init whose children do as the command line says.
func misbehave(t *testing.T, cmdline string) *nsmachine.Machine {
	t.Helper()
	keep := t.TempDir()
	writeFile(t, keep+"/me", "kept")
	return nsmachine.Start(t, nsmachine.Config{
		Init: build(t, "./testdata/child"), Cmdline: cmdline,
		Files: map[string]string{"/keep": keep, "/stage2": build(t, "./testdata/stage2")},
		Env:   []string{"HOME=/", "unknown_parameter=from the kernel"},
	})
}

// However a child ends, PID 1 says how, and acts on the rescue's verdict.
func TestPID1SurvivesItsChild(t *testing.T) {
	for boot, want := range map[string]string{
		"panic":                   "class panic: boot panicked",
		"sigkill":                 "class killed: boot was killed by signal 9",
		"sigsegv":                 "class panic: boot panicked",
		"exit":                    "class killed: boot exited with status 7",
		"silent":                  "class killed: boot left no verdict",
		"garbage":                 "class killed: boot left no verdict",
		"no-stage2":               "class handover: the boot asked for a hand-over and named no stage 2",
		"handover:missing":        "class handover: refused to leave the initramfs: /sbin/init in the new root: no such file",
		"handover:not-executable": "class handover: refused to leave the initramfs: /sbin/init in the new root is no executable file",
		"handover:not-mounted":    "class handover: refused to leave the initramfs: nothing is mounted at /",
		"handover:prepare-fails":  "class handover: start /sbin/prepare",
	} {
		t.Run(boot, func(t *testing.T) {
			t.Parallel()
			m := misbehave(t, "boot="+boot+" rescue=reboot")
			m.Expect("rescue: " + want)
			m.Expect("initramfs intact: true")
			if end := m.End(); end != nsmachine.Rebooted {
				t.Errorf("the machine %s", end)
			}
		})
	}
}

// The kernel refuses an init that passed every proof: the initramfs is gone,
// and PID 1 still reports and reboots.
func TestPID1SurvivesAFailedExec(t *testing.T) {
	m := misbehave(t, "boot=handover:corrupt rescue=reboot")
	m.Expect("rescue: class handover: execute /sbin/init: exec format error")
	if end := m.End(); end != nsmachine.Rebooted {
		t.Errorf("the machine %s", end)
	}
}

func TestPID1ActsOnVerdicts(t *testing.T) {
	for cmdline, want := range map[string]struct {
		text string
		end  nsmachine.End
	}{
		"boot=reboot":                 {"", nsmachine.Rebooted},
		"boot=power-off":              {"", nsmachine.PoweredOff},
		"boot=panic rescue=panic":     {"the rescue ended too", nsmachine.Rebooted},
		"boot=exit rescue=shell":      {"shell: pid 1", nsmachine.Rebooted},
		"boot=retry-once":             {"second run", nsmachine.PoweredOff},
		"boot=exit rescue=retry-once": {"PID 1: starting the boot again", nsmachine.PoweredOff},
		"boot=exit rescue=sigkill":    {"the rescue ended too (killed)", nsmachine.Rebooted},
		"boot=exit rescue=no-stage2":  {"PID 1: rebooting in 1s", nsmachine.Rebooted},
		"boot=nonsense":               {`unknown verdict "nonsense"`, nsmachine.Rebooted},
		"boot=orphans":                {"statuses kept", nsmachine.PoweredOff},
	} {
		t.Run(cmdline, func(t *testing.T) {
			t.Parallel()
			m := misbehave(t, cmdline)
			m.Expect(want.text)
			if end := m.End(); end != want.end {
				t.Errorf("the machine %s, want %s", end, want.end)
			}
		})
	}
}

func TestHandOver(t *testing.T) {
	m := misbehave(t, "boot=handover:good")
	m.Expect("stage 2 done")
	if end := m.End(); end != nsmachine.PoweredOff {
		t.Errorf("the machine %s", end)
	}
	console := m.Console.String()
	for _, want := range []string{
		`stage 2: pid 1, args ["/sbin/init"], environment []`,
		"fd 0: /dev/", "fd 1: /dev/", "fd 2: /dev/",
		"mount: new / tmpfs", "mount: proc /proc proc", "mount: dev /dev tmpfs", "mount: tmpfs /run tmpfs", "mount: sysfs /sys sysfs",
		`process: "@keep"`,
	} {
		if !strings.Contains(console, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, not := range []string{`process: "sleep"`, "/keep", "mount: rootfs / ", "leaked fd", "entry: /init"} {
		if strings.Contains(console, not) {
			t.Errorf("%q is still there", not)
		}
	}
}
