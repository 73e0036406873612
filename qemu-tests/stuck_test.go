package qemutests

import (
	"encoding/binary"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// xoff is what a Ctrl-S sends, noise on a serial line, or a terminal server
// that does not keep up.
const xoff = "\x13"

// One XOFF, whenever it comes, holds up neither hand-over nor reboot.
func TestXOFF(t *testing.T) {
	t.Parallel()
	const missing = "init=/nix/store/missing/init "
	for name, s := range map[string]scenario{
		"before the boot": {copies: inInitrd, cmdline: "init={init}", story: []step{types(xoff)}},
		"before the boot, which fails": {
			copies: inInitrd, cmdline: missing + "boot.fail_timeout=1", story: []step{types(xoff)}, ends: refused("no-init"),
		},
		"at a breakpoint": {
			copies: inInitrd, cmdline: "init={init} boot.break=root", story: []step{prompt, types(xoff + "exit\r")},
		},
		"in the menu": { // it is no key either
			copies: inInitrd, cmdline: missing + "boot.fail_timeout=3", story: []step{menu, types(xoff)},
			ends: refused("no-init"), shown: []string{"No key was pressed: rebooting.", "!attempt 2"},
		},
	} {
		t.Run(name, s.run)
	}
}

// The kernel makes variables of the parameters that it does not know; what the
// Go runtime reads of them before any code of ours ends nothing.
func TestVariablesOfTheRuntime(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"GOMEMLIMIT=x", "GOGC=much", "GODEBUG=inittrace=1", "GOTRACEBACK=crash"} {
		t.Run(variable, scenario{
			copies: inInitrd, cmdline: "init={init} " + variable, env: []string{"HOME=/", "TERM=linux", variable}, shown: []string{"!malformed", "!init internal"},
		}.run)
	}
}

// notELF passes every look at a program but the kernel's own: it has nothing to
// load.
func notELF() string {
	text := make([]byte, 200)
	copy(text, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(text[16:], 2)  // ET_EXEC
	binary.LittleEndian.PutUint16(text[18:], 62) // EM_X86_64
	binary.LittleEndian.PutUint16(text[52:], 64) // of this header
	binary.LittleEndian.PutUint16(text[54:], 56) // of a program header, of which there is none
	return string(text)
}

func unloadable() system.Files {
	return system.Files{"init": "#!" + system.Toplevel + "/bin/loads-nothing\n", "bin/loads-nothing": notELF(), "nixos-version": "25.05"}
}

// A stage 2 that the kernel refuses fails when the initramfs is gone, and its
// policy with it: there is a screen and a reboot, and no key leads to more.
func TestNothingIsOfferedWithoutTheInitramfs(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]string{"no policy": `{"version":1}`, "never": `{"version":1,"shell":"never","verify":"required"}`} {
		for _, key := range []string{"i", "f", "c", " "} {
			t.Run(name+" key "+key, scenario{
				image: unloadable(), copies: inInitrd,
				files:   map[string]string{"/etc/netstage/policy.json": policy},
				cmdline: "init={init} boot.shell_on_fail rootfs.sha256={sha256}",
				story:   []step{shows("boot failed: exec", "Keys: r reboot, d kernel log, l agent log", "any other: reboot"), types(key)},
				ends:    rebooted, shown: []string{"!leaves it", "!i shell", "!starting the boot again"},
			}.run)
		}
	}
	t.Run("nobody is there", scenario{
		image: unloadable(), copies: inInitrd,
		cmdline: "init={init} boot.shell_on_fail boot.fail_timeout=1", ends: rebooted, shown: []string{"boot failed: exec", "!leaves it"},
	}.run)
}

// foreign is a program for another machine.
func foreign() string {
	text := []byte(notELF())
	text[18], text[19] = 0xf3, 0 // EM_RISCV
	return string(text)
}

// An init that can't be started is refused while all is still there, with its
// cause.
func TestInitsThatCannotStart(t *testing.T) {
	t.Parallel()
	image := system.Files{
		"nixos-version": "25.05", "folder/x": "", "plain": "#", "bin/empty": "", "bin/foreign": foreign(), "bin/text": "no program\n",
		"bin/lost": "#!/nix/store/none/bin/sh\n", "bin/unnamed": "#!\n", "bin/itself": "#!" + system.Toplevel + "/bin/itself\n",
		"bin/nowhere": "->/nowhere", "bin/ring": "->ring", "bin/outside": "->../../../../../../../init",
	}
	for name, cause := range map[string]string{
		"folder": "", "plain": "", "bin/empty": "", "bin/foreign": "another machine", "bin/text": "", "bin/lost": "needs /nix/store/none/bin/sh",
		"bin/unnamed": "names no interpreter", "bin/itself": "too many interpreters", "bin/nowhere": "no such file", "bin/ring": "", "bin/outside": "no such file",
		"bin/lost/below": "", "none": "no such file",
	} {
		t.Run(name, scenario{
			image: image, copies: inInitrd, cmdline: "boot.fail_timeout=1 init=" + system.Toplevel + "/" + name,
			ends: refused("no-init"), shown: []string{cause, "No key was pressed: rebooting."},
		}.run)
	}
}

// What kernel.panic says in stage 2: a minute, unless somebody said otherwise;
// and systemd is told what was found.
func TestRebootAfterPanic(t *testing.T) {
	t.Parallel()
	const setByUs, left = "panic=60 left=00-netstage-panic.conf ", "panic=0 left= "
	tells := system.Files{"nixos-version": "25.05", "init": system.Script(
		"echo panic=$(cat /proc/sys/kernel/panic) left=$(ls /run/sysctl.d 2>/dev/null) .\necho stage 2 done\n" + system.PowerOff)}
	for parameter, want := range map[string]string{
		"": setByUs, "panic=0": left, "panic=-1": left, "panic=30": left, "sysctl.kernel.panic=0": left, "panic_on_warn=1": setByUs, "-- panic=5": setByUs,
	} {
		t.Run(parameter, scenario{image: tells, copies: inInitrd, cmdline: "init={init} " + parameter, shown: []string{want}}.run)
	}
}

// A hand-over that fails half-way leaves the policy in force, whatever stage 2
// did to its mounts: where the initramfs is whole there is the menu that the
// policy allows, and nothing unvouched is mounted by its retry; where the way
// back is lost there is no more than a screen.
func TestPolicyAfterAFailedHandOver(t *testing.T) {
	t.Parallel()
	program := string(read(t, build(t, "./testdata/stage2")))
	for name, test := range map[string]struct {
		prepare string
		lost    bool
	}{
		"fails":                 {"exit 3", false},
		"killed":                {"kill -9 $$", false},
		"mounts over the root":  {"mount -t tmpfs x /; exit 3", false},
		"mounts over /proc":     {"mount -t tmpfs x /proc; exit 3", false},
		"unmounts /run":         {"umount -l /run; exit 3", false},
		"unmounts the old root": {"umount -l /; exit 3", true},
	} {
		image := system.Files{"bin/init": program, "init": "->bin/init", "nixos-version": "26.05", "prepare-root": system.Script(test.prepare + "\n")}
		for policy, rules := range map[string]string{"never": `{"version":1,"shell":"never","verify":"required"}`, "none": `{"version":1}`} {
			shown := []string{"!leaves it"}
			keys, again := "Keys: r reboot", types(" ")
			if policy == "none" {
				keys = "Keys: i shell, "
			}
			end := ending{nsmachine.Rebooted, []string{"!stage 2: pid 1"}}
			if test.lost {
				keys, again = "any other: reboot", types("i")
				shown = append(shown, "!i shell", "!starting the boot again")
			}
			story := []step{shows("boot failed: ", keys), again}
			if !test.lost {
				story = append(story, shows("boot failed: ", keys), types("r"))
			}
			t.Run(name+", "+policy, scenario{
				image: image, copies: inInitrd, files: map[string]string{"/etc/netstage/policy.json": rules},
				cmdline: "init={init} boot.shell_on_fail rootfs.sha256={sha256}", story: story, ends: end, shown: shown,
			}.run)
		}
	}
}

// The shell that is PID 1 can do by hand what PID 1 does: become another
// program, or switch to the new root, with a system that was mounted before.
func TestShellThatIsPID1(t *testing.T) {
	t.Parallel()
	const missing = "init=/nix/store/missing/init boot.shell_on_fail"
	shell, program := []step{menu, types("f"), prompt}, build(t, "./testdata/stage2")
	for name, test := range map[string]struct {
		command string
		shown   []string
		ends    ending
	}{
		"exec": {"exec /stage2 with this", []string{`stage 2: pid 1, args ["/stage2" "with" "this"]`}, stage2},
		"switch_root": {
			"mkdir /x; mount -t tmpfs x /x; mkdir /x/sbin; cp /stage2 /x/sbin/init; switch_root /x /sbin/init extra",
			[]string{`stage 2: pid 1, args ["/sbin/init" "extra"]`, "mount: x / tmpfs", "mount: proc /proc proc", "!entry: /nix-store.squashfs"}, stage2,
		},
		"switch_root to nothing":  {"switch_root /nowhere /init || echo st''ays", []string{"switch_root: refused to leave the initramfs: open the new root /nowhere: no such file", "stays"}, rebooted},
		"switch_root without one": {"switch_root || echo st''ays", []string{"usage: switch_root NEWROOT INIT", "stays"}, rebooted},
		"exec of nothing":         {"exec nothing || echo st''ays", []string{"exec: ", "stays"}, rebooted},
	} {
		t.Run(name, func(t *testing.T) {
			story := append(shell[:len(shell):len(shell)], types(test.command+"\r"))
			for _, text := range test.shown {
				if text == "stays" {
					story = append(story, shows(text), types("exit\r"))
				}
			}
			scenario{copies: map[string]string{"/nix-store.squashfs": "{image}", "/stage2": program}, cmdline: missing, story: story, ends: test.ends, shown: test.shown}.run(t)
		})
	}
}

// stalls has a disk of QEMU's answer nothing any more: a byte a second.
func stalls(device string) step {
	return qmp("block_set_io_throttle", map[string]any{"id": device, "bps": 1, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0})
}

// answers undoes stalls.
func answers(device string) step {
	return qmp("block_set_io_throttle", map[string]any{"id": device, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0})
}

// sick is a disk for stalls.
func sick(t *testing.T, file string) vm.Config {
	t.Helper()
	return vm.Config{
		Direct: true, NoNIC: true,
		Drives:    []string{"if=none,id=sick,format=raw,file=" + file},
		ExtraArgs: []string{"-device", "virtio-blk-pci,drive=sick,id=sickdev"},
	}
}

// within limits how long a machine takes to end once its story is told: how
// long it takes to build and to boot it is this host's affair.
func within(limit time.Duration, s scenario) func(*testing.T) {
	return func(t *testing.T) {
		p := s.start(t)
		for _, step := range s.story {
			step(p)
		}
		began := time.Now()
		p.expectEnd(s)
		if took := time.Since(began); took > limit {
			t.Errorf("it took %v, at most %v are allowed", took, limit)
		}
	}
}

// On a real serial line and with a quiet kernel: XOFF, and a disk that stops
// answering while somebody looks around, with something to be written to it.
// The reboot does not wait for either.
func TestQEMUSickDiskAtTheReboot(t *testing.T) {
	t.Parallel()
	disk := ext4(t, "sick", t.TempDir())
	c := sick(t, disk)
	within(3*time.Minute, scenario{
		kernel: xzModules, qemu: c, modules: []string{"virtio_net", "+virtio_blk", "+ext4"},
		cmdline: "loglevel=4 console=ttyS0 boot.break=root boot.shell_on_fail init={init}", copies: inInitrd,
		story: []step{
			prompt, types("mkdir /d; mount /dev/vda /d && echo moun''ted\r"), shows("mounted"),
			types("cp /init /d/x && echo writ''ten\r"), shows("written"),
			stalls("/machine/peripheral/sickdev/virtio-backend"),
			types("sync &\r"), types("sleep 2; exit 1\r"), menu, types(xoff + "r"),
		},
		ends: ending{nsmachine.Rebooted, nil},
	})(t)
}

// A disk that hangs in its driver's start does not stop a boot that needs no
// disk: neither the step devices, nor the hand-over, with a thread of the boot
// still inside the kernel.
func TestQEMUDiskThatHangsInItsDriver(t *testing.T) {
	t.Parallel()
	disk := bootDisk(t, nil)
	c := sick(t, disk)
	within(3*time.Minute, scenario{
		kernel: xzModules, qemu: c, modules: []string{"virtio_net", "+virtio_blk"},
		cmdline: "loglevel=4 init={init} boot.break=devices", copies: inInitrd,
		story: []step{
			prompt, stalls("/machine/peripheral/sickdev/virtio-backend"), types("exit\r"),
			shows("stage 2 done"), answers("/machine/peripheral/sickdev/virtio-backend"),
		},
		shown: []string{"drivers: going on; still starting after 15s: virtio_blk", "still starting, and left to the kernel: virtio_blk", "boot has ended but for what a driver or a disk holds"},
	})(t)
}

// A disk that may fail stops answering between the look at it and the mount:
// it is told of, and left out.
func TestQEMUDiskThatStopsBeforeTheMount(t *testing.T) {
	t.Parallel()
	c := sick(t, ext4(t, "sick", t.TempDir()))
	within(3*time.Minute, scenario{
		kernel: xzModules, qemu: c, modules: []string{"virtio_net", "+virtio_blk", "+ext4"},
		cmdline: "loglevel=4 init={init} boot.break=root", copies: inInitrd,
		files: map[string]string{"/etc/netstage/fstab": "LABEL=sick /data ext4 nofail,x-systemd.mount-timeout=20s 0 0\n"},
		story: []step{prompt, stalls("/machine/peripheral/sickdev/virtio-backend"), types("exit\r"), shows("stage 2 done"), answers("/machine/peripheral/sickdev/virtio-backend")}, // it powers off by way of a sync
		shown: []string{"disks: mounting /data (ext4), at most 20s", "disks: /data is not mounted: mount: "},
	})(t)
}

// An init that exits makes the kernel panic, and that makes the machine start
// again, although nothing on the command line says so.
func TestQEMUInitThatExits(t *testing.T) {
	t.Parallel()
	within(3*time.Minute, scenario{
		image:  system.Files{"init": system.Script("echo panic=$(cat /proc/sys/kernel/panic); cat /run/sysctl.d/*; exit 3\n"), "nixos-version": "25.05"},
		kernel: xzModules, qemu: vm.Config{Direct: true, NoNIC: true, Plain: true}, copies: inInitrd,
		cmdline: "console=ttyS0 init={init}",
		// Which take an emulated processor much longer than that.
		story: []step{shows("panic=60", "kernel.panic = 0", "Kernel panic - not syncing: Attempted to kill init!", "Rebooting in 60 seconds"), qmp("system_reset", map[string]any{})},
		ends:  ending{nsmachine.Panicked, nil},
	})(t)
}
