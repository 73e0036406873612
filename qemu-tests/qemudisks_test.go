package qemutests

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// seenUnit has the Debian of setup/debian.sh tell what an earlier boot left on
// the disk.
const seenUnit = "[Service]\nExecStartPre=/bin/sh -c 'echo \"left: $(cat /persist/kept)\"; echo \"by systemd\" > /persist/kept'\n"

// debianOnDisks packs a Debian whose fstab names the disk.
func debianOnDisks(t *testing.T) image.Report {
	t.Helper()
	dir := t.TempDir()
	if err := system.WriteDebian(setupDir(t, "debian"), dir, "squashfs"); err != nil {
		t.Fatal(err)
	}
	fstab := one(t, dir+"/*/etc/fstab")
	text, err := os.ReadFile(fstab)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, fstab, string(text)+"/dev/disk/by-label/persist /persist ext4 x-initrd.mount,noatime 0 2\n")
	writeFile(t, filepath.Dir(fstab)+"/systemd/system/tell.service.d/seen.conf", seenUnit)
	report, err := image.Build(context.Background(), image.Options{
		Source: dir, Output: filepath.Join(t.TempDir(), "image.squashfs"), Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// bootDisk is a disk as of a machine that boots by rEFInd: a GPT with an EFI
// system partition that holds the files.
func bootDisk(t *testing.T, files map[string]string) string {
	t.Helper()
	disk, esp := filepath.Join(t.TempDir(), "disk"), filepath.Join(t.TempDir(), "esp")
	for _, file := range []string{disk, esp} {
		writeFile(t, file, "")
	}
	run(t, "truncate", "-s", "300M", disk)
	run(t, "truncate", "-s", "290M", esp)
	run(t, "sh", "-c", `printf 'label: gpt\nstart=2048, size=593920, type=U, name="EFI system"\n' | sfdisk -q "$0"`, disk)
	run(t, "mkfs.vfat", "-F", "32", "-n", "ESP", esp)
	run(t, "mmd", "-i", esp, "::/EFI", "::/EFI/netstage")
	for to, from := range files {
		run(t, "mcopy", "-i", esp, from, "::"+to)
	}
	run(t, "dd", "if="+esp, "of="+disk, "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
	return disk
}

// diskGuest is a machine without a network, whose initrd drives disks.
func diskGuest(t *testing.T, bootDisk string, files ...initrd.File) vm.Config {
	t.Helper()
	c := guestOf(t, xzModules, initrd.Options{
		Modules: []string{"virtio_net", "+dm_verity"}, Disks: true, FileSystems: []string{"ext4", "vfat", "iso9660"},
		Programs: []initrd.File{{Source: "/sbin/e2fsck", Target: "/sbin/e2fsck"}},
		Files:    append(files, initrd.File{Source: table(t, "LABEL=persist /persist ext4 x-initrd.mount,noatime 0 2\n"), Target: "/etc/netstage/fstab"}),
	})
	c.Direct, c.NoNIC = true, true
	c.Drives = []string{"if=none,id=boot,format=raw,file=" + bootDisk}
	c.ExtraArgs = []string{"-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,drive=boot"}
	return c
}

// From a disk to a real systemd: the image on an EFI system partition, verified
// by dm-verity, and a disk for /persist that is plugged in three seconds late,
// after a power cut. The same machine finds there what it wrote, with an ISO
// image on the first disk this time, and files of a second archive. When the
// disk is broken, it is named.
func TestQEMUDisks(t *testing.T) {
	t.Parallel()
	debian := debianOnDisks(t)
	iso := filepath.Join(t.TempDir(), "nixos.iso")
	tree := t.TempDir()
	second := store(t, system.Files{"nixos-version": "25.05", "init": system.Script(`
sed 's/^/left: /' /persist/kept
sed 's/^/handed: /' /root/.ssh/authorized_keys /root/network/addrs.json /etc/ssh/ssh_host_key /etc/machine-id
` + system.Tell + system.PowerOff)})
	run(t, "cp", second.path, tree+"/nix-store.squashfs")
	run(t, "genisoimage", "-quiet", "-V", "NIXOS", "-iso-level", "4", "-r", "-o", iso, tree)
	disk := bootDisk(t, map[string]string{
		"/EFI/netstage/nix-store.squashfs": debian.Path, "/EFI/netstage/nix-store.squashfs.verity": debian.Path + ".verity", "/nixos.iso": iso,
	})
	persist := ext4(t, "persist", t.TempDir())
	run(t, "debugfs", "-w", "-R", "set_super_value state 0", persist)
	run(t, "debugfs", "-w", "-R", "set_super_value free_inodes_count 7", persist)
	late := "if=none,id=late,format=raw,file=" + persist

	c := diskGuest(t, disk)
	c.Drives = append(c.Drives, late)
	rootHash, err := image.ReadRootHash(debian.Path)
	if err != nil {
		t.Fatal(err)
	}
	c.Init, c.Append = system.DebianClassic, `rootfs=LABEL=ESP:/EFI/netstage/nix-store.squashfs rootfs.verity.mount rootfs.roothash=`+rootHash
	m := start(t, c)
	m.expect("waiting for the disk LABEL=persist for /persist, at most 1m0s")
	time.Sleep(3 * time.Second) // the disk is that late
	if _, err := m.QMP(m.ctx, "device_add", map[string]any{"driver": "virtio-blk-pci", "drive": "late"}); err != nil {
		t.Fatal(err)
	}
	m.end(vm.PowerOff, "image: LABEL=ESP:/EFI/netstage/nix-store.squashfs is on /dev/sda1 vfat LABEL=ESP", "PARTLABEL=EFI system", "/nix-store.squashfs in place", "every block is verified again", "mount: /run/netstage/media/sda1 vfat /dev/sda1 ro",
		"fsck: persist was not cleanly unmounted, check forced", "the errors of /dev/vda for /persist were corrected", "network: not needed",
		"systemd: running", "!failed: ", "mount: /persist ext4 /dev/vda rw,noatime", "left: \n",
		"touch: touch: cannot touch '/nix/store/x': Read-only file system", "mount: /nix/store overlay overlay ro,")

	handed := t.TempDir()
	for name, text := range map[string]string{
		"/ssh/authorized_keys": "ssh-ed25519 AAAA ops\n", "/ssh/ssh_host_key": "host key\n", "/addrs.json": "[]\n", "/machine-id": "0123456789abcdef0123456789abcdef\n",
		"/.initrd-secrets/etc/secret": "secret\n",
	} {
		writeFile(t, handed+name, text)
	}
	cpio := filepath.Join(t.TempDir(), "state.cpio.gz")
	run(t, "sh", "-c", `cd "$0" && find . | cpio --quiet -o -H newc | gzip -9 >"$1"`, handed, cpio)
	c = diskGuest(t, disk)
	c.Initrds = append(c.Initrds, cpio)
	c.Drives = append(c.Drives, late)
	c.ExtraArgs = append(c.ExtraArgs, "-device", "virtio-blk-pci,drive=late")
	c.Init, c.Append = system.Init, "findiso=/nixos.iso rootfs.sha256="+second.sha256
	start(t, c).end(vm.PowerOff, "found /nixos.iso on /dev/sda1 vfat", "left: by systemd\n", "fsck: persist: clean", "!were corrected",
		"handed: ssh-ed25519 AAAA ops\n", "handed: host key\n", "handed: []\n", "handed: 0123456789abcdef0123456789abcdef\n",
		"secrets: copied 1 files", "stage 2 done", "copied into memory", "!mount: /run/netstage/media")

	run(t, "e2fsck", "-p", persist) // its journal would mend what follows
	run(t, "debugfs", "-w", "-R", "clri <2>", persist)
	run(t, "debugfs", "-w", "-R", "set_super_value state 0", persist)
	c.Append += " boot.fail_timeout=1"
	start(t, c).end(vm.Reset, "boot failed: fsck", "/persist: /dev/vda: e2fsck left errors uncorrected", "!stage 2: pid 1")
}

// table is a file with the file systems that are needed for boot.
func table(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fstab")
	writeFile(t, file, text)
	return file
}
