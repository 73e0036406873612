package qemutests

import (
	"os"
	"path/filepath"
	"testing"

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
