package qemutests

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/system"
)

// toGuest is a URL of this host as a machine in QEMU's own network knows it.
func toGuest(url string) string { return strings.Replace(url, "127.0.0.1", "10.0.2.2", 1) }

// serveLocal serves a vouched image on this host.
func (v vouched) serveLocal(t *testing.T, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.Listen("127.0.0.1:0", v.content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	v.addTo(s)
	return s
}

// The image is mounted through dm-verity. A byte of it that changes in memory
// after it was fetched and verified is found when it is read: an I/O error, or
// the restart that was asked for. All else goes on working.
func TestQEMUVerityMount(t *testing.T) {
	t.Parallel()
	const size = 1 << 20       // a block of the squashfs of its own
	blob := make([]byte, size) // of random bytes, which are stored as they are
	if _, err := rand.Read(blob); err != nil {
		t.Fatal(err)
	}
	toplevel := classic()
	toplevel["blob"] = string(blob)
	toplevel["init"] = system.Script(system.Tell + `
		ls -d /sys/block/dm-0 && echo "dm: $(cat /sys/block/dm-0/dm/name) $(cat /sys/block/dm-0/ro)"
		cat ` + system.Toplevel + `/blob > /dev/null && echo "blob: read"
		dmesg | grep "device-mapper: verity"
		echo "read all"` + system.PowerOff)
	v := vouchFor(t, store(t, toplevel))
	at := bytes.Index(v.content, blob[size/2:size/2+4096])
	if at < 0 {
		t.Fatal("the image does not hold the file as it is")
	}
	flip := initrd.File{Source: build(t, "netstage/qemu-tests/testdata/flip"), Target: "/flip"}
	key := initrd.File{Source: v.dir + "/ops.pub", Target: "/etc/netstage/trusted.d/ops.pub"}

	t.Run("signed, and wrong in memory", func(t *testing.T) {
		t.Parallel()
		s := v.serveLocal(t)
		c := guestWith(t, xzModules, []string{"virtio_net", "dm_verity"}, flip, key)
		c.Direct, c.Append = true, "rootfs.verity.mount boot.break=root rootfs.manifest="+toGuest(s.URL("test.manifest"))
		m := start(t, c)
		const date = 8 // of the superblock: the image can't even be mounted, and is fetched again
		for _, offset := range []int{date, at} {
			m.expect(`breakpoint before step "root"`)
			m.expect("leaves it")
			m.send(fmt.Sprintf("/flip /image/image %d\r", offset))
			m.expect("flipped")
			m.send("exit\r")
			if offset == date {
				m.expect("data block 0 is corrupted")
				m.expect("boot failed: mount")
				m.expect("Keys: ")
				m.send("x")
			}
		}
		m.end(vm.PowerOff, "every block is verified again when it is read (dm-verity)", "mount: /nix/.ro-store squashfs /dev/dm-0 ro",
			"stage 2 done", `"dm_verity": true`, "dm: netstage-image 1", "cat: read error: Input/output error", "!blob: read", "data block "+fmt.Sprint(at/4096)+" is corrupted", "read all")
	})
	t.Run("in an ISO image, good, and restarted when wrong", func(t *testing.T) {
		t.Parallel()
		v := vouchFor(t, isoOf(t, "nix-store.squashfs", v.path))
		at := bytes.Index(v.content, blob[size/2:size/2+4096])
		s := v.serveLocal(t)
		c := guestWith(t, plainModules, []string{"virtio_net", "dm_verity"}, flip)
		c.Direct, c.Init = true, system.Init
		c.Append = "rootfs.verity.mount=restart boot.break=handover roothash=" + v.root + " rootfs=" + toGuest(s.URL("image.squashfs"))
		m := start(t, c)
		m.expect(`breakpoint before step "handover"`)
		m.expect("leaves it")
		m.send("cat /mnt-root" + system.Toplevel + "/init > /dev/null && echo re''ad\r")
		m.expect("read")
		m.send(fmt.Sprintf("/flip /image/image %d\r", at))
		m.expect("flipped")
		m.send("cat /mnt-root" + system.Toplevel + "/blob > /dev/null; echo ali''ve\r")
		m.end(vm.Reset, "it is an ISO image, the system is in its /nix-store.squashfs", "every block is verified again when it is read (dm-verity)", "!alive")
	})
}

// What dm-verity needs is asked for before anything is mounted, and a kernel
// without it says so.
func TestVerityMountRefused(t *testing.T) {
	t.Parallel()
	for class, s := range map[string]scenario{
		"bad-parameter": {cmdline: "rootfs.sha256={sha256}", shown: []string{"rootfs.verity.mount needs a verity tree and its root hash: give roothash="}},
		"verity":        {cmdline: "roothash={roothash}", shown: []string{"dm-verity: open the device mapper", "--module +dm_verity"}},
	} {
		s.copies = map[string]string{"/nix-store.squashfs": "{image}", "/nix-store.squashfs.verity": "{tree}"}
		s.cmdline = "boot.fail_timeout=1 rootfs.verity.mount init={init} " + s.cmdline
		s.ends = refused(class)
		t.Run(class, s.run)
	}
}
