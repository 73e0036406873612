package qemutests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// isoOf is an ISO image of a file, and of others as large as a block.
func isoOf(t *testing.T, name, file string) artifact {
	t.Helper()
	tree, iso := t.TempDir(), filepath.Join(t.TempDir(), "system.iso")
	run(t, "install", "-D", "-m", "644", file, filepath.Join(tree, name))
	writeFile(t, filepath.Join(tree, "boot/vmlinuz"), string(make([]byte, 1<<16)))
	run(t, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "NIXOS", "-o", iso, tree)
	run(t, "truncate", "-s", "%4096", iso)
	content, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return artifact{iso, fmt.Sprintf("%x", sha256.Sum256(content))}
}

// TestFetchedISO has rootfs= lead to an ISO image: the system is in an image in
// it, and what vouches for the ISO image vouches for that.
func TestFetchedISO(t *testing.T) {
	t.Parallel()
	iso := vouchFor(t, isoOf(t, "nix-store.squashfs", vouchOnce(t, classic()).path))
	shown := []string{"it is an ISO image, the system is in its /nix-store.squashfs", "mount: /nix/.ro-store squashfs /dev/loop", "store: writable"}
	for name, s := range map[string]scenario{
		"by its digest":    {cmdline: "rootfs={url} rootfs.sha256={sha256} init={init}", shown: append(shown, `"sha256": "{sha256}"`)},
		"by its root hash": {cmdline: "rootfs={url} rootfs.roothash={roothash} init={init}", shown: shown},
		"by a manifest": {
			cmdline: "rootfs={url} rootfs.manifest={dir}/test.manifest", copies: map[string]string{"/etc/netstage/trusted.d/ops.pub": "{ops.pub}"}, shown: shown,
		},
		"by the digest of what is in it": {
			cmdline: "rootfs={url} rootfs.sha256=" + vouchOnce(t, classic()).sha256 + " init={init} boot.fail_timeout=1", ends: refused("mismatch"),
		},
	} {
		s.lan, s.vouched = &network{}, &iso
		t.Run(name, s.run)
	}
	empty := vouchFor(t, isoOf(t, "readme", "/bin/sh"))
	t.Run("without an image", scenario{
		lan: &network{}, vouched: &empty, cmdline: "rootfs={url} rootfs.sha256={sha256} init={init} boot.fail_timeout=1",
		ends: refused("bad-image"), shown: []string{"an ISO image without a squashfs or erofs in it"},
	}.run)
}
