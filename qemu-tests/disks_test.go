package qemutests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/initrd"
	"netstage/qemu-tests/system"
)

// run runs a program of the host.
func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// label is one that no other test has, of this run or another on this host:
// all see the host's loop devices.
func label(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
}

// ext4 makes a disk with an ext4 that holds the folder.
func ext4(t testing.TB, label, folder string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	writeFile(t, disk, "")
	if err := os.Truncate(disk, 16<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-L", label, "-d", folder, disk)
	return disk
}

// plug makes a disk appear on this host, as long as the test runs, however it
// ends: the device goes with the last who holds it. It returns its node.
func plug(t *testing.T, disk string) string {
	t.Helper()
	file, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	for range 64 { // another test may be faster
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			t.Cleanup(func() { device.Close() })
			return device.Name()
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			t.Fatal(err)
		}
	}
	t.Fatal("no loop device stays free")
	return ""
}

// withE2fsck are the files of an initrd with e2fsck, and others.
func withE2fsck(t testing.TB, more map[string]string) map[string]string {
	t.Helper()
	path, err := exec.LookPath("e2fsck")
	if err != nil {
		t.Fatal(err)
	}
	files, err := initrd.Program(initrd.File{Source: path, Target: "/sbin/e2fsck"})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		if all[f.Target], err = filepath.EvalSymlinks(f.Source); err != nil {
			t.Fatal(err)
		}
	}
	for to, from := range more {
		all[to] = from
	}
	return all
}

// persistent is a stage 2 that tells what an earlier one left on a disk.
func persistent() system.Files {
	return system.Files{"init": system.Script(`
sed 's/^/left: /' /persist/boots
echo "of an earlier boot" >> /persist/boots
ls -ln /persist/bound | sed 's/^/bound: /'
` + system.Tell + system.PowerOff), "nixos-version": "25.05"}
}

// fstab is where the initrd has the file systems that are needed for boot.
const fstab = "/etc/netstage/fstab"

// A disk that is needed for boot appears late. It is waited for, checked and
// mounted, and what the one boot writes the next one finds.
func TestNeededDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needed := label("needed")
	folder := t.TempDir()
	writeFile(t, folder+"/boots", "the disk's maker\n")
	disk := ext4(t, needed, folder)
	// As after a power cut, with something to mend.
	run(t, "debugfs", "-w", "-R", "set_super_value state 0", disk)
	run(t, "debugfs", "-w", "-R", "set_super_value free_inodes_count 7", disk)
	s := scenario{
		image: persistent(), copies: withE2fsck(t, inInitrd), cmdline: "init={init}",
		files: map[string]string{fstab: "LABEL=" + needed + ` /persist ext4 x-initrd.mount,noatime,x-systemd.device-timeout=50s 0 2
/persist /persist/bound none bind,ro 0 0
LABEL=none-of-these /spare ext4 nofail,x-systemd.device-timeout=1s 0 2
tmpfs /scratch tmpfs mode=0700,x-initrd.mount 0 0
/dev/sdz9 /never ext4 noauto 0 0
`},
	}
	first := s
	first.story = []step{shows("waiting for the disk LABEL=" + needed + " for /persist, at most 50s"), plugs(disk)}
	first.shown = []string{"fsck: " + needed + " was not cleanly unmounted, check forced", "for /persist were corrected",
		"left: the disk's maker\n", "!left: of an earlier boot", "bound: ", "mount: /persist ext4 /dev/loop", "rw,noatime",
		"mount: /persist/bound ext4 /dev/loop", "ro,noatime", "mount: /scratch tmpfs tmpfs rw,relatime,mode=700", "!/never",
		"disks: /spare is not mounted: no-device: /spare: no device LABEL=none-of-these", "mount: /nix/store overlay"}
	first.play(t)
	s.shown = []string{"left: of an earlier boot\n", "fsck: " + needed + ": clean", "!were corrected", "!waiting for the disk LABEL=" + needed}
	s.play(t)
}

// What is wrong with a disk is named, with its class.
func TestDiskFailures(t *testing.T) {
	t.Parallel()
	needRoot(t)
	broken := ext4(t, label("broken"), t.TempDir())
	run(t, "debugfs", "-w", "-R", "clri <2>", broken)
	run(t, "debugfs", "-w", "-R", "set_super_value state 0", broken)
	plug(t, broken)
	locked := filepath.Join(t.TempDir(), "disk")
	writeFile(t, locked, "LUKS\xba\xbe\x00\x02"+strings.Repeat("\x00", 160)+"4242aaaa-0000-4000-8000-000000004242"+strings.Repeat("\x00", 1<<20-204))
	plug(t, locked)
	copies := withE2fsck(t, inInitrd)
	for name, test := range map[string]struct {
		table string
		fails string
		shown []string
	}{
		"corrupt": {"LABEL=" + label("broken") + " /persist ext4 defaults 0 2", "fsck", []string{
			"/persist: /dev/loop", "e2fsck left errors uncorrected: a person has to decide", "UNEXPECTED INCONSISTENCY"}},
		"missing": {"UUID=0000-DEAD /persist ext4 x-systemd.device-timeout=1s 0 2", "no-device", []string{
			"no device UUID=0000-DEAD: it did not appear within 1s", "there is /dev/loop", "LABEL=" + label("broken")}},
		"another": {"LABEL=" + label("broken") + " /persist xfs defaults 0 0", "mount", []string{"(xfs) at /mnt-root/persist"}},
		"LUKS":    {"UUID=4242aaaa-0000-4000-8000-000000004242 /persist auto defaults 0 2", "mount", []string{"holds no file system but crypto_LUKS", "do that in stage 2"}},
		"bind":    {"tmpfs /nowhere tmpfs ro\n/nowhere/x /persist none bind", "mount", []string{"/mnt-root/nowhere/x"}},
		"/nix":    {"LABEL=" + label("broken") + " /nix ext4 defaults 0 2", "bad-parameter", []string{"mount point /nix: it would be in the place of the image"}},
		"table":   {"/dev/disk/by-path/pci-1 /persist ext4", "bad-parameter", []string{"no udev"}},
	} {
		t.Run(name, scenario{
			copies: copies, files: map[string]string{fstab: test.table}, cmdline: "boot.fail_timeout=1 init={init}",
			ends: refused(test.fails), shown: test.shown,
		}.run)
	}
}

// Where a check has mended what the kernel may know already, the machine starts
// again, with nobody asked.
func TestCheckWantsAReboot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	plug(t, ext4(t, label("mended"), t.TempDir()))
	scenario{
		copies: inInitrd, cmdline: "init={init}",
		files: map[string]string{"/sbin/fsck.ext4": "#!/bin/sh\necho checked $*\nexit 3\n", fstab: "LABEL=" + label("mended") + " /persist ext4 nofail 0 2"},
		ends:  rebooted,
		shown: []string{"fsck: checked -a /dev/loop", "corrected errors and wants a reboot", "rebooting, as the check of the disk wants it", "!boot failed"},
	}.play(t)
}

// A disk that was plugged in too late is seen in the shell, and the boot goes
// on with the image that was good.
func TestRetryWithADisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	scenario{
		copies: inInitrd, cmdline: "boot.shell_on_fail init={init}",
		files: map[string]string{fstab: "LABEL=" + label("retry") + " /persist ext4 x-systemd.device-timeout=1s 0 2"},
		story: []step{
			menu, types("i"), prompt, plugs(ext4(t, label("retry"), t.TempDir())),
			types("blkid | grep 'LABEL=" + label("retry") + "'\r"), shows("ext4 LABEL=" + label("retry") + " UUID="),
			types("exit\r"),
		},
		shown: []string{"image: it is there already", "/persist is not checked: the initrd has no fsck.ext4", "mount: /persist ext4"},
	}.play(t)
}

// boot.persistence= keeps the root.
func TestPersistence(t *testing.T) {
	t.Parallel()
	needRoot(t)
	plug(t, ext4(t, label("root"), t.TempDir()))
	s := scenario{
		image:  system.Files{"init": system.Script("sed 's/^/left: /' /kept\necho written > /kept\n" + system.Tell + system.PowerOff), "nixos-version": "25.05"},
		copies: inInitrd, cmdline: "init={init} boot.persistence=LABEL=" + label("root") + " boot.persistence.opt=nosuid,data=ordered",
	}
	s.shown = []string{"mount: / ext4 /dev/loop", "rw,nosuid,relatime", "mount: /nix/store overlay", "!left: written"}
	s.play(t)
	s.shown = []string{"left: written"}
	s.play(t)

	// It is waited for as long as its options say, and no longer.
	scenario{
		copies: inInitrd, cmdline: "boot.fail_timeout=1 init={init} boot.persistence=UUID=0000-DEAD boot.persistence.opt=x-systemd.device-timeout=1s",
		ends: refused("no-device"), shown: []string{"no device UUID=0000-DEAD: it did not appear within 1s"},
	}.play(t)

	// Nothing vouches for the disk: where the initrd wants that, it says so
	// itself.
	const policy = `{"version": 1, "verify": "required"}`
	scenario{
		copies: inInitrd, files: map[string]string{"/etc/netstage/policy.json": policy},
		cmdline: "boot.fail_timeout=1 init={init} rootfs.sha256={sha256} boot.persistence=LABEL=" + label("root"),
		ends:    refused("policy"), shown: []string{"the initrd's policy does not allow boot.persistence", "!mount: / ext4"},
	}.play(t)
	scenario{
		copies: inInitrd, files: map[string]string{"/etc/netstage/policy.json": policy, "/etc/netstage/cmdline": "boot.persistence=LABEL=" + label("root")},
		cmdline: "init={init} rootfs.sha256={sha256}", shown: []string{"mount: / ext4"},
	}.play(t)
}

// An image that is a file on a disk, or a disk.
func TestImageOnADisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	v := vouchOnce(t, classic())
	folder := t.TempDir()
	for _, name := range []string{"boot/image.squashfs", "nix-store.squashfs"} {
		writeFile(t, filepath.Join(folder, name), "")
		run(t, "cp", v.path, filepath.Join(folder, name))
	}
	writeFile(t, folder+"/boot/image.squashfs.verity", string(v.tree))
	writeFile(t, folder+"/m", string(v.body))
	plug(t, ext4(t, label("images"), folder))
	whole := filepath.Join(t.TempDir(), "disk")
	run(t, "cp", v.path, whole)
	run(t, "truncate", "-s", "+3M", whole)
	device := plug(t, whole)
	disk := "LABEL=" + label("images")
	for name, s := range map[string]scenario{
		"unverified": {cmdline: "rootfs=" + disk + ":/boot/image.squashfs",
			shown: []string{"nothing vouches for it", "/boot/image.squashfs in place", "mount: /run/netstage/media/loop", "network: not needed"}},
		"digest": {cmdline: "rootfs=" + disk + ":/boot/image.squashfs rootfs.sha256={sha256}", shown: []string{"copied into memory", "!mount: /run/netstage/media"}},
		"tree":   {cmdline: "rootfs=" + disk + ":/boot/image.squashfs roothash={roothash}", shown: []string{"copied into memory", `"roothash": "{roothash}`}},
		"copytoram": {cmdline: "rootfs=" + disk + ":/boot/image.squashfs copytoram",
			shown: []string{"copied into memory", "!mount: /run/netstage/media"}},
		"wrong digest":    {cmdline: "rootfs=" + disk + ":/boot/image.squashfs rootfs.sha256=" + strings.Repeat("0", 64), ends: refused("mismatch")},
		"wrong root hash": {cmdline: "rootfs=" + disk + ":/boot/image.squashfs roothash=" + strings.Repeat("0", 64), ends: refused("mismatch")},
		"no file":         {cmdline: "rootfs=" + disk + ":/image.squashfs", ends: refused("no-image"), shown: []string{"/image.squashfs: no such file"}},
		"root=": {cmdline: "root=" + disk + " copytoram rootfs.sha256={sha256}",
			shown: []string{"root=" + disk + " is on /dev/loop"}},
		"rootfs= before root=": {cmdline: "root=LABEL=disk-nowhere rootfs=" + disk + ":/nix-store.squashfs"},
		"whole disk":           {cmdline: "rootfs=" + device, shown: []string{device + " in place", "mount: /nix/.ro-store squashfs " + device}},
		"whole disk, digest": {cmdline: "rootfs=" + device + " rootfs.sha256={sha256}",
			shown: []string{"copied into memory", "!mount: /nix/.ro-store squashfs " + device}},
	} {
		s.cmdline = "boot.fail_timeout=1 init={init} " + s.cmdline
		t.Run(name, s.run)
	}
}

// The files that nixos-images' kexec hands over, and a boot loader's secrets.
func TestHandedIn(t *testing.T) {
	scenario{
		image: system.Files{"nixos-version": "25.05", "init": system.Script(`
for file in /root/.ssh/authorized_keys /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub /root/network/addrs.json \
	/root/network/routes-v4.json /root/network/routes-v6.json /etc/machine-id /root /root/.ssh /etc/ssh; do
	set -- $(ls -ldn $file)
	echo "handed: $1 $3 $4 $file $(cat $file 2>/dev/null)"
done
` + system.Tell + system.PowerOff)},
		copies: inInitrd, cmdline: "init={init}",
		files: map[string]string{
			"/ssh/authorized_keys": "key", "/ssh/ssh_host_ed25519_key": "host", "/ssh/ssh_host_ed25519_key.pub": "pub",
			"/addrs.json": "[]", "/routes-v4.json": "[4]", "/routes-v6.json": "[6]", "/machine-id": "0123456789abcdef0123456789abcdef", "/ssh/other": "no",
		},
		shown: []string{"handed in: 7 files",
			"handed: -r-------- 0 0 /root/.ssh/authorized_keys key", "handed: -r-------- 0 0 /etc/ssh/ssh_host_ed25519_key host",
			"handed: -r-------- 0 0 /etc/ssh/ssh_host_ed25519_key.pub pub", "handed: -rw-r--r-- 0 0 /root/network/addrs.json []",
			"handed: -rw-r--r-- 0 0 /root/network/routes-v4.json [4]", "handed: -rw-r--r-- 0 0 /root/network/routes-v6.json [6]",
			"handed: -r--r--r-- 0 0 /etc/machine-id 0123456789abcdef", "handed: drwx------ 0 0 /root ", "handed: drwx------ 0 0 /root/.ssh ", "handed: drwxr-xr-x 0 0 /etc/ssh "},
	}.run(t)
}

// The addresses that the machine had before kexec are used where no DHCP server
// answers.
func TestHandedAddresses(t *testing.T) {
	const mac = "52:54:00:77:00:42"
	scenario{
		lan:     &network{noDHCP: true, mac: mac},
		files:   map[string]string{"/addrs.json": `[{"ifname":"ens3","link_type":"ether","address":"` + mac + `","addr_info":[{"family":"inet","local":"10.77.0.66","prefixlen":24,"scope":"global"}]}]`},
		cmdline: "rootfs={url} rootfs.sha256={sha256} init={init}",
		shown:   []string{"network: DHCP led to nothing within 20s; now 10.77.0.66/24 of /addrs.json", "eth0: 10.77.0.66/24"},
	}.run(t)
}
