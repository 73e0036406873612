package qemutests

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// evilRoot is a folder for a disk with other contents at the places of the
// image: an init of its own, and a link that leads into the store.
func evilRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "store", filepath.Base(system.Toplevel), "init"), "#!"+system.Shell+"\necho evil\n")
	run(t, "chmod", "755", filepath.Join(dir, "store", filepath.Base(system.Toplevel), "init"))
	if err := os.Symlink("nix/store", filepath.Join(dir, "var")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An image that is vouched for is what is started, whatever a disk holds that
// the initrd's own table mounts: over the store, or by a link on a root that
// persists. An empty disk is no endless "no init".
func TestNothingHidesTheImage(t *testing.T) {
	t.Parallel()
	needRoot(t)
	evil, empty := ext4(t, label("evil"), evilRoot(t)), ext4(t, label("empty"), t.TempDir())
	plug(t, evil)
	plug(t, empty)
	const policy = `{"version": 1, "verify": "required"}`
	for name, test := range map[string]struct{ table, more, class, says string }{
		"a disk at /nix":        {"LABEL=" + label("evil") + " /nix ext4 defaults 0 0", "", "bad-parameter", "mount point /nix: it would be in the place of the image"},
		"an empty disk at /nix": {"LABEL=" + label("empty") + " /nix ext4 defaults 0 0", "", "bad-parameter", "mount point /nix: it would be in the place of the image"},
		"a disk at /":           {"LABEL=" + label("evil") + " / ext4 defaults 0 0", "", "bad-parameter", "mount point /: it would be in the place of the image"},
		"below the store":       {"LABEL=" + label("evil") + " /nix/store/x ext4 nofail 0 0", "", "bad-parameter", "mount point /nix/store/x: it would be in the place of the image"},
		"at the store":          {"LABEL=" + label("evil") + " /nix/store ext4 defaults 0 0", "", "bad-parameter", "in the place of the image"},
		"by a link":             {"tmpfs /var/" + filepath.Base(system.Toplevel) + " tmpfs mode=0755", "boot.persistence=LABEL=" + label("evil"), "policy", "is not the image's any more"},
	} {
		t.Run(name, scenario{
			copies: inInitrd, files: map[string]string{fstab: test.table, "/etc/netstage/policy.json": policy, "/etc/netstage/cmdline": test.more},
			cmdline: "boot.fail_timeout=1 init={init} rootfs.sha256={sha256}",
			ends:    refused(test.class), shown: []string{test.says, "!evil\n", "!stage 2"},
		}.run)
	}
}

// So it is on a real kernel, with a real disk.
func TestQEMUNothingHidesTheImage(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	policy := filepath.Join(t.TempDir(), "policy.json")
	writeFile(t, policy, `{"version": 1, "verify": "required"}`)
	for name, test := range map[string]struct{ table, own, class, says string }{
		"a disk at /nix": {"LABEL=evil /nix ext4 defaults 0 0\n", "", "bad-parameter", "mount point /nix: it would be in the place of the image"},
		"by a link":      {"tmpfs /var/" + filepath.Base(system.Toplevel) + " tmpfs mode=0755\n", "boot.persistence=LABEL=evil\n", "policy", "is not the image's any more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := filepath.Join(t.TempDir(), "cmdline")
			writeFile(t, own, test.own)
			c := guestOf(t, xzModules, initrd.Options{
				Modules: []string{"virtio_net"}, Disks: true, FileSystems: []string{"ext4"},
				Files: []initrd.File{
					{Source: a.path, Target: "/nix-store.squashfs"}, {Source: policy, Target: "/etc/netstage/policy.json"},
					{Source: own, Target: "/etc/netstage/cmdline"}, {Source: table(t, test.table), Target: "/etc/netstage/fstab"},
				},
			})
			c.Direct, c.NoNIC, c.Init = true, true, system.Init
			c.Drives = []string{"if=virtio,format=raw,file=" + ext4(t, "evil", evilRoot(t))}
			c.Append = "boot.fail_timeout=1 rootfs.sha256=" + a.sha256
			start(t, c).end(vm.Reset, "boot failed: "+test.class, test.says, "!evil\n", "!stage 2: pid 1")
		})
	}
}
