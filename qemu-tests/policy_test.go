package qemutests

import (
	"path/filepath"
	"strings"
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// What the initrd pins, no command line changes: neither the init nor the image, and nothing is fetched for one that
// tries.
func TestPinsOfTheInitrd(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	pins := filepath.Join(v.dir, "cmdline")
	writeFile(t, pins, "init="+system.Init+"\nrootfs.roothash="+v.root+"\nboot.fail_timeout=1\n")
	for name, test := range map[string]struct {
		cmdline, fails string
		want           []string
	}{
		"nothing said":  {"", "", []string{`"roothash": "` + v.root}},
		"the same said": {"init=" + system.Init + " rootfs.sha256=" + v.sha256, "", []string{`"sha256": "` + v.sha256}},
		"another init":  {"init=/bin/sh", "bad-parameter", []string{"init=/bin/sh: this initrd starts init=" + system.Init, "!verity tree"}},
		"another image": {"roothash=" + strings.Repeat("0", 64), "bad-parameter", []string{"given twice with different values", "!verity tree"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			s := v.serve(t, lan, nil)
			m := boot(t, nsmachine.Config{LAN: lan, Files: map[string]string{"/etc/netstage/cmdline": pins}, Cmdline: "rootfs=" + s.URL("image.squashfs") + " " + test.cmdline})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}

// What the initrd's policy forbids, no command line brings back: neither a
// shell nor an image that nothing vouches for.
func TestPolicyOfTheInitrd(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	for name, test := range map[string]struct {
		policy, cmdline, fails string
		want                   []string
	}{
		"no shell": {
			`{"version":1,"shell":"never"}`, "boot.debug1 boot.debug1mounts boot.shell_on_fail rootfs.sha256=" + v.sha256, "",
			[]string{"the initrd's policy allows no shell: passing over boot.shell_on_fail and breakpoints", "!breakpoint before step"},
		},
		"no shell on failure": {
			`{"version":1,"shell":"never"}`, "boot.shell_on_fail rootfs.sha256=" + strings.Repeat("0", 64), "mismatch", []string{"!i shell", "!f shell"},
		},
		"nothing vouches": {`{"version":1,"verify":"required"}`, "", "policy", []string{"nothing vouches for the image"}},
		"vouched":         {`{"version":1,"verify":"required"}`, "rootfs.sha256=" + v.sha256, "", []string{`"sha256": "` + v.sha256}},
		"not understood":  {`{"version":1,"passwordHash":"$6$x$y"}`, "boot.debug1 boot.shell_on_fail rootfs.sha256=" + v.sha256, "bad-parameter", []string{"passwordHash", "!i shell", "!breakpoint before step"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			s := v.serve(t, lan, nil)
			file := filepath.Join(t.TempDir(), "policy.json")
			writeFile(t, file, test.policy)
			m := boot(t, nsmachine.Config{
				LAN: lan, Files: map[string]string{"/etc/netstage/policy.json": file},
				Cmdline: "boot.fail_timeout=1 init=" + system.Init + " rootfs=" + s.URL("image.squashfs") + " " + test.cmdline,
			})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}

// A canary does everything but the switch: it ends by switching itself off,
// or by a reboot when something is wrong.
func TestBootCheck(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	for init, want := range map[string]nsmachine.End{system.Init: nsmachine.PoweredOff, "/nix/store/none/init": nsmachine.Rebooted} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			s := v.serve(t, lan, nil)
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.check boot.fail_timeout=1 rootfs.sha256=" + v.sha256 + " rootfs=" + s.URL("image.squashfs") + " init=" + init})
			text := map[nsmachine.End]string{
				nsmachine.PoweredOff: "boot.check: stage 2 would be started, init " + system.Init,
				nsmachine.Rebooted:   "boot failed: no-init",
			}[want]
			expectEnd(t, m, want, text, "!stage 2: pid 1", "!stage 2 done")
		})
	}
}
