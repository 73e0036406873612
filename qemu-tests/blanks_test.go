package qemutests

import (
	"path/filepath"
	"strings"
	"testing"
)

// The image is a file on a disk: label and path may have blanks, by whatever
// way they are written.
func TestImageOnADiskWithBlanks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	name := "my " + label("disk")
	tree := t.TempDir()
	run(t, "install", "-D", "-m", "644", vouchOnce(t, classic()).path, filepath.Join(tree, "my images/nix store.squashfs"))
	plug(t, ext4(t, name, tree))
	const path = ":/my images/nix store.squashfs"
	for _, ref := range []string{
		`"rootfs=LABEL=` + name + path + `"`,
		`rootfs="LABEL=` + name + path + `"`,
		`rootfs="LABEL=` + strings.ReplaceAll(name, " ", `\x20`) + path + `"`,
		`rootfs="/dev/disk/by-label/` + strings.ReplaceAll(name, " ", `\x20`) + path + `"`,
	} {
		t.Run(strings.ReplaceAll(ref, "/", "|"), scenario{
			cmdline: "init={init} boot.fail_timeout=1 rootfs.sha256={sha256} " + ref, shown: []string{"LABEL=" + name, "copied into memory"},
		}.run)
	}
}
