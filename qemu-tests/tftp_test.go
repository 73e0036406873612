package qemutests

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
)

// The smallest set-up: dnsmasq alone, which gives the address and, by TFTP,
// the image with all that vouches for it.
func TestTFTP(t *testing.T) {
	t.Parallel()
	v := vouchOnce(t, classic())
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"image.squashfs": v.content, "image.squashfs.verity": v.tree, "test.manifest": v.body, "test.manifest.minisig": v.signature,
	} {
		writeFile(t, filepath.Join(root, "dir", name), string(text))
	}
	const dir = "tftp://" + nsmachine.Gateway + "/dir/"
	tftp := []string{"--enable-tftp", "--tftp-root=" + root}
	serving := func() *network { return &network{options: tftp} }
	for name, s := range map[string]scenario{
		"tree": {lan: serving(), cmdline: "init={init} rootfs=" + dir + "image.squashfs roothash={roothash}",
			shown: []string{"image: 2 MiB from 10.77.0.1 in", `"answer":"TFTP OK"`}},
		"by name": {lan: serving(), cmdline: "init={init} rootfs=tftp://server.test/dir/image.squashfs rootfs.sha256={sha256}", shown: []string{"image: 2 MiB from server.test in"}},
		"signed": {lan: serving(), copies: map[string]string{"/etc/netstage/trusted.d/ops.pub": "{ops.pub}"},
			cmdline: "init={init} rootfs.manifest=test.manifest rootfs.base=tftp://" + nsmachine.Gateway + "/dir",
			shown:   []string{"signed by ops.pub", "image: 2 MiB from 10.77.0.1 in"}},
		"not found": {lan: serving(), cmdline: "init={init} rootfs=" + dir + "nothing rootfs.sha256={sha256}", ends: refused("tftp"),
			shown: []string{"TFTP error 1: ", "tftp://10.77.0.1/dir/nothing"}},
		"wrong": {lan: serving(), cmdline: "init={init} rootfs=" + dir + "test.manifest rootfs.sha256={sha256}", ends: refused("mismatch"), shown: []string{"!root (7/8)"}},
		"takes over from a web server": {
			lan: &network{options: tftp, mirrors: []mirror{{script: []faulty.Behaviour{
				{End: faulty.EndClose, Cut: half}, {Status: 404, Times: -1}}}}},
			cmdline: "init={init} rootfs.sha256={sha256} rootfs={url} rootfs=" + dir + "image.squashfs",
			shown:   []string{"10.77.0.1: starting over at 0/2 MiB: it sends no ranges"},
		},
		"IPv6": {
			lan:     &network{dhcp6: true, options: tftp},
			cmdline: "init={init} roothash={roothash} rootfs=tftp://[" + nsmachine.Gateway6 + "]/dir/image.squashfs",
			shown:   []string{"image: 2 MiB from [" + nsmachine.Gateway6 + "] in"},
		},
		"no TFTP server yet": {
			lan:     &network{noDHCP: true},
			cmdline: "ip=10.77.0.50::10.77.0.1:255.255.255.0::eth0:off init={init} rootfs.sha256={sha256} rootfs=" + dir + "image.squashfs",
			story:   []step{shows("10.77.0.1: connection refused"), dhcp(tftp...)},
		},
	} {
		s.cmdline = "boot.fail_timeout=1 " + s.cmdline
		t.Run(name, s.run)
	}
}
