package qemutests

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// The kernels of the tests, as setup/kernel.sh lays them out.
const (
	plainModules = "6.1"  // uncompressed, and a kernel that can't decompress
	xzModules    = "6.12" // .ko.xz, as nixpkgs has them
)

// setupDir is where the setup scripts put what they make.
func setupDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../build", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%v (make test makes it)", err)
	}
	return dir
}

// one finds the only file of a pattern.
func one(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// guest is a machine to boot: a kernel of setup/kernel.sh with an initrd of
// ours.
func guest(t testing.TB, kernel string, files ...initrd.File) vm.Config {
	t.Helper()
	return guestOf(t, kernel, initrd.Options{Modules: []string{"virtio_net"}, Files: files})
}

// guestPacked is guest with an initrd as the tool packs it, for firmware, which
// takes long to read one.
func guestPacked(t testing.TB, kernel string, files ...initrd.File) vm.Config {
	t.Helper()
	return guestOf(t, kernel, initrd.Options{Modules: []string{"virtio_net"}, Compression: initrd.Zstd, Files: files})
}

// guestOf is guest with an initrd of the caller's making; of the agent of most
// unless it brings another. To pack it takes longer than QEMU takes to read it
// as it is.
func guestOf(t testing.TB, kernel string, o initrd.Options) vm.Config {
	t.Helper()
	dir := setupDir(t, "kernels/"+kernel)
	archive := filepath.Join(t.TempDir(), "initrd.zst")
	out, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	o.KernelModules = one(t, dir+"/lib/modules/*")
	if o.Compression == "" {
		o.Compression = initrd.None
	}
	if o.Init == "" {
		o.Init = build(t, agent)
	}
	if _, err := initrd.Build(context.Background(), o, out); err != nil {
		t.Fatal(err)
	}
	return vm.Config{Kernel: one(t, dir+"/boot/vmlinuz-*"), Initrds: []string{archive}, Memory: 1024}
}

// A running machine of a test.
type running struct {
	*vm.Machine
	t   testing.TB
	ctx context.Context
}

// machineLimit is for hosts that are busy with much else; a machine takes
// seconds.
const machineLimit = 10 * time.Minute

func start(t testing.TB, c vm.Config) running {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), machineLimit, fmt.Errorf("%v are over", machineLimit))
	t.Cleanup(cancel)
	c.Kernel = unpacked(t, c)
	m, err := vm.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		if t.Failed() {
			t.Logf("console:\n%s\nto see it again:\n%s", m.Console(), m.Command())
		}
	})
	return running{m, t, ctx}
}

func (r running) expect(text string) {
	r.t.Helper()
	if _, err := r.Expect(r.ctx, text); err != nil {
		r.t.Fatal(err)
	}
}

func (r running) send(text string) {
	r.t.Helper()
	if err := r.Send(text); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the machine's end and checks the console; a text with '!' must
// not be there.
func (r running) end(want vm.End, texts ...string) {
	r.t.Helper()
	got, err := r.Wait(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if got != want {
		r.t.Errorf("the machine ended by %s, want %s", got, want)
	}
	for _, text := range texts {
		not, negative := strings.CutPrefix(text, "!")
		if negative == strings.Contains(r.Console(), not) {
			r.t.Errorf("console: %q", text)
		}
	}
}

// From the firmware to stage 2, through iPXE, on both kinds of modules.
func TestQEMUBootByIPXE(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	for _, kernel := range []string{plainModules, xzModules} {
		t.Run(kernel, func(t *testing.T) {
			c := guestPacked(t, kernel)
			c.Image, c.Init = a.path, system.Init
			m := start(t, c)
			m.end(vm.PowerOff, "iPXE", "stage 2 done", "store: writable", "verified",
				"mount: / tmpfs tmpfs rw", "mount: /dev devtmpfs devtmpfs rw,nosuid", "mount: /nix/store overlay overlay",
				"link: eth0 down", "fd 0: /dev/console", "modprobe: /sbin/modprobe", "entry: nix\n", "!entry: init", "!entry: lib", "!inet 10.0.2.15",
				"!has a driver and no link")
		})
	}
}

// The all-in-one format, loaded by QEMU as kexec or rEFInd would, without a
// NIC in sight. Image and tree outlive the initramfs, also behind dm-verity.
func TestQEMUImageInInitrd(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	tree := filepath.Join(v.dir, "tree")
	writeFile(t, tree, string(v.tree))
	for name, test := range map[string]struct{ cmdline, device string }{"plain": {"", "/dev/loop0"}, "dm-verity": {"rootfs.verity.mount roothash=" + v.root, "/dev/dm-0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := guestWith(t, xzModules, []string{"virtio_net", "dm_verity"},
				initrd.File{Source: v.path, Target: "/nix-store.squashfs"}, initrd.File{Source: tree, Target: "/nix-store.squashfs.verity"})
			c.Direct, c.NoNIC, c.Init, c.Append = true, true, system.Init, test.cmdline
			start(t, c).end(vm.PowerOff, "stage 2 done", "network: not needed", "mount: /nix/.ro-store squashfs "+test.device, "!entry: nix-store.squashfs")
		})
	}
}

// A digest that does not match is refused before anything is mounted; the
// machine tells, with what its firmware and its kernel say, and reboots by
// itself.
func TestQEMURefusesWrongDigest(t *testing.T) {
	t.Parallel()
	var told collector
	server := httptest.NewServer(&told)
	defer server.Close()
	a := store(t, classic())
	c := guest(t, xzModules)
	c.Direct, c.Image, c.Init, c.Unverified = true, a.path, system.Init, true
	c.ExtraArgs = []string{"-smbios", "type=1,serial=A7K1131,uuid=4c4c4544-0000-2010-8020-80c04f202020"}
	c.Append = "boot.fail_timeout=1 rootfs.sha256=" + strings.Repeat("0", 64) +
		" boot.report=" + strings.Replace(server.URL, "127.0.0.1", "ops:hunter2@10.0.2.2", 1)
	start(t, c).end(vm.Reset, "boot failed: mismatch", a.sha256[:16], "!root (7/8)", "!stage 2: pid 1")

	r := told.last(t, 1)
	if r.Failure == nil || r.Failure.Class != "mismatch" || r.Machine.Serial != "A7K1131" || r.Machine.UUID != "4c4c4544-0000-2010-8020-80c04f202020" {
		t.Errorf("report %+v", r)
	}
	log := strings.Join(r.KernelLog, "\n")
	if !strings.Contains(log, "stage-1-init: image (6/8): mismatch: ") || !strings.Contains(log, "virtio") || strings.Contains(log, "hunter2") {
		t.Errorf("kernel log in the report:\n%s", log)
	}
}

// A real systemd up to multi-user, with no failed unit, on the mounts that
// NixOS's fstab names.
func TestQEMUSystemd(t *testing.T) {
	t.Parallel()
	images := map[image.Format]string{}
	for format, compression := range map[image.Format]image.Compression{
		image.Squashfs: {Algorithm: "zstd", Level: 1},
		image.Erofs:    {Algorithm: "lz4"},
	} {
		dir := t.TempDir()
		if err := system.WriteDebian(setupDir(t, "debian"), dir, string(format)); err != nil {
			t.Fatal(err)
		}
		report, err := image.Build(context.Background(), image.Options{
			Source: dir, Output: filepath.Join(t.TempDir(), "image."+string(format)), Format: format, Compression: compression,
		})
		if err != nil {
			t.Fatal(err)
		}
		images[format] = report.Path
	}
	table := filepath.Join(t.TempDir(), "fstab")
	writeFile(t, table, system.NixosInitTable)
	for name, test := range map[string]struct {
		format image.Format
		init   string
		files  []initrd.File
		shown  []string
	}{
		"classic":      {image.Squashfs, system.DebianClassic, nil, []string{"etc: 640 0:0 ", "written: yes", "!nixos: /etc mounted"}},
		"prepare-root": {image.Erofs, system.DebianPrepareRoot, nil, []string{"etc: 640 0:0 ", "written: yes", "IN_NIXOS_SYSTEMD_STAGE1=true"}},
		"etc overlay": {image.Squashfs, system.DebianEtcOverlay, nil, []string{
			"nixos: /etc mounted, to be written to", "IN_NIXOS_SYSTEMD_STAGE1=true", "mount: /etc overlay overlay", "written: yes",
			"lowerdir=/run/nixos-etc-metadata::", "etc: 640 0:42 ", "mount: /run/nixos-etc-metadata erofs /dev/loop",
		}},
		"nixos-init": {image.Erofs, system.DebianNixosInit, []initrd.File{{Source: table, Target: "/etc/netstage/fstab"}}, []string{
			"nixos: /etc mounted, read-only", "etc: 640 0:42 ", "nixos: prepared as by nixos-init", "!activated by",
			"mount: /etc overlay overlay ro", "touch: cannot touch '/etc/written': Read-only file system",
			"link: /run/booted-system " + filepath.Dir(system.DebianNixosInit), "link: /run/current-system " + filepath.Dir(system.DebianNixosInit),
			"link: /usr/bin/env /nix/store/", "-debian/usr/bin/env\n", "link: /bin/sh /nix/store/",
			"store: 1775 0:30000, modprobe /nix/store/", "-debian/usr/sbin/modprobe, firmware /nix/store/", "-debian/usr/lib/firmware\n",
			"etc: machine-id tmpfs ", "!etc: machine-id tmpfs 0123456789abcdef",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := guest(t, xzModules, test.files...)
			c.Direct, c.Image, c.Init = true, images[test.format], test.init
			start(t, c).end(vm.PowerOff, append(test.shown,
				"systemd: running", "!failed: ", "PID 1: systemd, multi-user active",
				"mount: / tmpfs tmpfs rw,relatime,mode=755", "mount: /nix/.ro-store "+string(test.format)+" /dev/loop0 ro",
				"mount: /nix/.rw-store tmpfs tmpfs rw,relatime,mode=755", "mount: /nix/store overlay overlay",
				"touch: touch: cannot touch '/nix/store/x': Read-only file system",
				" ../usr/lib/os-release 29000 ",
				"journal: ", "stage-1-init", "handover (8/8)", "(kernel)", "(initrd)", "(userspace)",
			)...)
		})
	}
}

// UEFI firmware, whose kernel command line begins with the kernel's name.
func TestQEMUBootByUEFI(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guestPacked(t, xzModules)
	c.UEFI, c.Image, c.Init = true, a.path, system.Init
	start(t, c).end(vm.PowerOff, "stage 2 done", "store: writable", "verified")
}

// Typed at the serial console: a breakpoint with real drivers loaded, where a
// command that takes all memory is killed and nothing else; then the end of
// the process that does the work. PID 1 tells on both consoles, with the
// kernel's last lines, offers the shell of the initramfs, which is whole, and
// reboots when asked to.
func TestQEMUChildIsKilledByHand(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guest(t, plainModules)
	c.Direct, c.Image, c.Init, c.Append = true, a.path, system.Init, "console=tty0 console=ttyS0 boot.debug1devices boot.shell_on_fail loglevel=4"
	c.Memory = 384
	m := start(t, c)
	m.expect(`breakpoint before step "network"`)
	m.expect("leaves it")
	m.send("lsmod | grep '^virtio_net ' && echo lo''aded\r")
	m.expect("loaded")
	m.send("tail /dev/zero\r") // one line, without an end
	m.expect("sh: tail: killed")
	m.send("echo a''live\r")
	m.expect("alive")
	m.send("kill -9 $(ps | grep ' boot$' | head -n 1 | while read pid rest; do echo $pid; done)\r")
	m.expect("boot failed: killed")
	m.expect("Kernel:  [")
	m.expect("Keys: i shell, f shell as PID 1, r reboot, d kernel log, l agent log, n network,")
	m.send("d")
	m.expect("q: menu")
	m.send("g")
	m.expect("Linux version")
	m.send("q")
	m.expect("Keys: ")
	m.send("l")
	m.expect("modules (3/8)") // what the killed process said
	m.send("q")
	m.expect("Keys: ")
	m.send("n")
	m.expect("eth0 52:54:00:12:34:56 virtio_net")
	m.send("q")
	m.expect("Keys: ")
	m.send("i")
	m.expect("leaves it")
	// The other console: what the kernel keeps of the screen.
	m.send("grep -q 'boot failed: killed ===' /dev/vcs1 && grep -q 'Keys on ttyS0: i shell' /dev/vcs1 && echo bo''th\r")
	m.expect("both")
	m.send("ls -d /init /lib/modules/*/kernel && echo in''tact\r")
	m.expect("intact")
	m.send("exit 1\r")
	m.expect("Keys: ")
	m.send("r")
	m.end(vm.Reset, "!stage 2: pid 1")
}

// Every breakpoint in one boot, with what is there at each to look at, and on
// to stage 2.
func TestQEMUEveryBreakpoint(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guest(t, xzModules)
	c.Direct, c.Image, c.Init = true, a.path, system.Init
	c.Append = "loglevel=4 boot.debug1 boot.break=devices boot.debug1devices boot.break=image boot.break=root boot.debug1mounts"
	m := start(t, c)
	for _, stop := range []struct{ step, command, answer string }{
		{"modules", "lsmod | grep -c virtio_net", "0\n"},
		{"devices", "ls /sys/class/net", "lo\n"},
		{"network", "ip link show eth0", "state DOWN"},
		{"image", "ip addr show eth0", "10.0.2.15/24"},
		{"root", "[ -e /mnt-root/nix ] || echo no''thing", "nothing\n"},
		{"handover", "ls /mnt-root/nix/store/*/nixos-version | grep -c .", "1\n"},
	} {
		m.expect(fmt.Sprintf("breakpoint before step %q", stop.step))
		m.expect("leaves it")
		m.send(stop.command + "\r")
		m.expect(stop.answer)
		m.send("exit 0\r")
	}
	m.end(vm.PowerOff, "stage 2 done")
}

// An init that is not in the image is named before anything is deleted, and the
// kernel panics where that is wanted.
func TestQEMUMissingInit(t *testing.T) {
	t.Parallel()
	a := store(t, system.Files{"nixos-version": "25.05"})
	c := guest(t, plainModules)
	c.Direct, c.Image, c.Init, c.Append = true, a.path, system.Init, "boot.panic_on_fail"
	start(t, c).end(vm.Panic, "boot.panic_on_fail: no-init: ", "no such file", "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", "!Keys: ", "!stage 2: pid 1")
}

// A NIC that appears while the boot waits for one is driven, and used.
func TestQEMULateNIC(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guest(t, xzModules)
	c.Direct, c.NoNIC, c.Image, c.Init = true, true, a.path, system.Init
	m := start(t, c)
	m.expect("still waiting")
	for _, step := range []struct {
		command   string
		arguments map[string]any
	}{
		{"netdev_add", map[string]any{"type": "user", "id": "late"}},
		{"device_add", map[string]any{"driver": "virtio-net-pci", "netdev": "late"}},
	} {
		if _, err := m.QMP(m.ctx, step.command, step.arguments); err != nil {
			t.Fatal(err)
		}
	}
	m.end(vm.PowerOff, "stage 2 done", "verified")
}
