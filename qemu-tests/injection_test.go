package qemutests

import (
	"testing"

	"netstage/qemu-tests/system"
	"netstage/stage1/kmod"
)

// No parameter becomes a line of a file that another program reads: neither a
// line break inside quotes, nor another control character.
func TestControlCharactersInParameters(t *testing.T) {
	t.Parallel()
	for name, parameter := range map[string]string{
		"a module's": "x.y=\"1\ninstall configfs /bin/sh -c 'id'\n#\"",
		"no one's":   "note=\"a\x01b\"",
		"a C1":       "note=a\u009bb",
		"our own":    "boot.report=\"http://h/\r\n\"",
		"a delete":   "systemd.setenv=\"A=\x7f\"",
	} {
		t.Run(name, scenario{
			lan:     &network{},
			cmdline: "boot.fail_timeout=1 init={init} rootfs={url} rootfs.sha256={sha256} " + parameter,
			ends:    refused("bad-parameter"),
			shown:   []string{"control characters"},
		}.run)
	}
}

// What the boot told its own modprobe is gone in stage 2, where another
// modprobe would obey it.
func TestNoModuleRulesForStage2(t *testing.T) {
	release, err := kmod.Release()
	if err != nil {
		t.Fatal(err)
	}
	scenario{
		files:   map[string]string{"/lib/modules/" + release + "/modules.dep": "kernel/x.ko:\n"},
		lan:     &network{},
		image:   system.Files{"init": system.Script("echo \"rules: $(ls -A /run/modprobe.d 2>&1)\"\n" + system.Tell + system.PowerOff), "nixos-version": "25.05"},
		cmdline: "init={init} rootfs={url} rootfs.sha256={sha256} x.y=secret",
		shown:   []string{"rules: ", "!command-line.conf"},
	}.run(t)
}

// A program that is many is called by the name that init= has, not by the one
// that its links lead to: BusyBox would print how it is used, and end.
func TestInitByItsName(t *testing.T) {
	files, err := system.Root(system.Files{
		"sbin/init":   "->../bin/busybox",
		"etc/inittab": "::sysinit:/bin/rc\n",
		"bin/rc":      "#!/bin/sh\n" + system.Tell + system.PowerOff,
	})
	if err != nil {
		t.Fatal(err)
	}
	image := vouchFor(t, pack(t, files, true))
	scenario{
		lan: &network{}, vouched: &image, cmdline: "init=/sbin/init rootfs={url} rootfs.sha256={sha256}",
	}.run(t)
}
