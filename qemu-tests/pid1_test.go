package qemutests

import (
	"strings"
	"syscall"
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
	t.Parallel()
	for boot, want := range map[string]string{
		"panic":                    "class panic: boot panicked",
		"sigkill":                  "class killed: boot was killed by signal 9",
		"sigsegv":                  "class panic: boot panicked",
		"exit":                     "class killed: boot exited with status 7",
		"silent":                   "class killed: boot left no verdict",
		"garbage":                  "class killed: boot left no verdict",
		"no-stage2":                "class handover: the boot asked for a hand-over and named no stage 2",
		"handover:missing":         "class handover: refused to leave the initramfs: /sbin/init in the new root: no such file",
		"handover:not-executable":  "class handover: refused to leave the initramfs: /sbin/init in the new root is no executable file",
		"handover:not-mounted":     "class handover: refused to leave the initramfs: nothing is mounted at /",
		"handover:prepare-fails":   "class handover: start /sbin/prepare",
		"handover:file-in-the-way": "class handover: move /run into /mnt-root: /run in the image is no directory",
		"handover:prepare-stalls":  "class handover: /sbin/prepare did not end in 2s",
		"mute":                     "class step-timeout: boot showed no sign of life any more, and was killed",
		"stalled-exit":             "class killed: boot exited with status 7",
		"stalled-panic":            "class panic: boot panicked",
		"stalled-sigkill":          "class killed: boot was killed by signal 9",
		"stalled-mute":             "class step-timeout: boot showed no sign of life",
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

// A reboot that hangs in the kernel is not waited for: sysrq comes next, which
// asks no driver, or the watchdog.
func TestPID1WhereTheRebootHangs(t *testing.T) {
	t.Parallel()
	m := misbehave(t, "boot=exit rescue=reboot reboot=hangs")
	m.Expect("rescue: class killed")
	m.Expect("next resort: ")
	m.End()
}

// The kernel refuses an init that passed every proof: the initramfs is gone,
// and with it the policy. PID 1 still reports, to a rescue that has what it
// needs from the boot, and reboots, whatever that rescue wants.
func TestPID1SurvivesAFailedExec(t *testing.T) {
	t.Parallel()
	for _, rescue := range []string{"reboot", "shell", "retry", "sigkill", "handover:good"} {
		t.Run(rescue, func(t *testing.T) {
			t.Parallel()
			m := misbehave(t, "boot=handover:corrupt rescue="+rescue)
			m.Expect("rescue: class exec: execute /sbin/init: exec format error")
			m.Expect(`rescue knows "no shell"`)
			if end := m.End(); end != nsmachine.Rebooted {
				t.Errorf("the machine %s", end)
			}
			for _, not := range []string{"shell: pid 1", "starting the boot again", "stage 2"} {
				if strings.Contains(m.Console.String(), not) {
					t.Errorf("%q after the initramfs was gone", not)
				}
			}
		})
	}
}

// A disk of the new root that does not answer holds PID 1 itself: the machine
// is started again. In a namespace that takes the end of what holds it.
func TestPID1HangsInTheHandOver(t *testing.T) {
	t.Parallel()
	m := misbehave(t, "boot=handover:disk-stalls")
	m.Expect("PID 1: the switch to the new root did not end in 3s: rebooting")
	if err := syscall.Kill(childNamed(t, m.Pid(), "@stall"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if end := m.End(); end != nsmachine.Rebooted {
		t.Errorf("the machine %s", end)
	}
}

func TestPID1ActsOnVerdicts(t *testing.T) {
	t.Parallel()
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
		// A verdict counts, whatever becomes of who left it.
		"boot=stays-power-off":          {"", nsmachine.PoweredOff},
		"boot=stays-reboot":             {"", nsmachine.Rebooted},
		"boot=stalled-power-off":        {"going on without it", nsmachine.PoweredOff},
		"boot=stalled-reboot":           {"going on without it", nsmachine.Rebooted},
		"boot=stalled-stays-power-off":  {"going on without it", nsmachine.PoweredOff},
		"boot=stalled-handover:good":    {"stage 2 done", nsmachine.PoweredOff},
		"boot=stays-handover:good":      {"stage 2 done", nsmachine.PoweredOff},
		"boot=alive":                    {"", nsmachine.PoweredOff}, // for longer than it may be silent
		"boot=mute rescue=mute":         {"the rescue ended too (step-timeout)", nsmachine.Rebooted},
		"boot=handover:link-in-the-way": {"mount: tmpfs /elsewhere/run tmpfs", nsmachine.PoweredOff},
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
