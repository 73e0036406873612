package qemutests

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// The smallest set-up: dnsmasq alone, which gives the address and, by TFTP,
// the image with all that vouches for it.
func TestTFTP(t *testing.T) {
	t.Parallel()
	v := vouch(t)
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
	key := map[string]string{"/etc/netstage/trusted.d/ops.pub": filepath.Join(v.dir, "ops.pub")}
	for name, test := range map[string]struct {
		files   map[string]string
		cmdline string
		fails   string
		want    []string
	}{
		"tree":      {nil, "rootfs=" + dir + "image.squashfs roothash=" + v.root, "", []string{"image: 2 MiB from 10.77.0.1 in", `"answer":"TFTP OK"`}},
		"by name":   {nil, "rootfs=tftp://server.test/dir/image.squashfs rootfs.sha256=" + v.sha256, "", []string{"image: 2 MiB from server.test in"}},
		"signed":    {key, "rootfs.manifest=test.manifest rootfs.base=tftp://" + nsmachine.Gateway + "/dir", "", []string{"signed by ops.pub", "image: 2 MiB from 10.77.0.1 in"}},
		"not found": {nil, "rootfs=" + dir + "nothing rootfs.sha256=" + v.sha256, "tftp", []string{"TFTP error 1: ", "tftp://10.77.0.1/dir/nothing"}},
		"wrong":     {nil, "rootfs=" + dir + "test.manifest rootfs.sha256=" + v.sha256, "mismatch", []string{"!root (7/8)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t, "--enable-tftp", "--tftp-root="+root)
			m := boot(t, nsmachine.Config{LAN: lan, Files: test.files, Cmdline: "boot.fail_timeout=1 init=" + system.Init + " " + test.cmdline})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
	t.Run("takes over from a web server", func(t *testing.T) {
		t.Parallel()
		lan := nsmachine.NewLAN(t)
		lan.DHCP(t, "--enable-tftp", "--tftp-root="+root)
		s := v.serve(t, lan, nil, faulty.Behaviour{End: faulty.EndClose, Cut: half}, faulty.Behaviour{Status: 404, Times: -1})
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "init=" + system.Init + " rootfs.sha256=" + v.sha256 + " rootfs=" + s.URL("image.squashfs") + " rootfs=" + dir + "image.squashfs"})
		expectEnd(t, m, nsmachine.PoweredOff, "10.77.0.1: starting over at 0/2 MiB: it sends no ranges", "stage 2 done")
	})
	t.Run("IPv6", func(t *testing.T) {
		t.Parallel()
		lan := nsmachine.NewLAN(t)
		lan.DHCP6(t, "--enable-tftp", "--tftp-root="+root)
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.fail_timeout=1 init=" + system.Init +
			" roothash=" + v.root + " rootfs=tftp://[" + nsmachine.Gateway6 + "]/dir/image.squashfs"})
		expectEnd(t, m, nsmachine.PoweredOff, "image: 2 MiB from ["+nsmachine.Gateway6+"] in", "stage 2 done")
	})
	t.Run("no TFTP server yet", func(t *testing.T) {
		t.Parallel()
		lan := nsmachine.NewLAN(t)
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "ip=10.77.0.50::10.77.0.1:255.255.255.0::eth0:off init=" + system.Init + " rootfs.sha256=" + v.sha256 + " rootfs=" + dir + "image.squashfs"})
		m.Expect("10.77.0.1: connection refused")
		lan.DHCP(t, "--enable-tftp", "--tftp-root="+root)
		expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
	})
}
