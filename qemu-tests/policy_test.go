package qemutests

import (
	"strings"
	"syscall"
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/stage1/password"
)

// What the initrd pins, no command line changes: neither the init nor the
// image, and nothing is fetched for one that tries.
func TestPinsOfTheInitrd(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"nothing said":  {shown: []string{`"roothash": "{roothash}`}},
		"the same said": {cmdline: "init={init} rootfs.sha256={sha256}", shown: []string{`"sha256": "{sha256}`}},
		"another init": {cmdline: "init=/bin/sh", ends: refused("bad-parameter"),
			shown: []string{"init=/bin/sh: this initrd starts init={init}", "!verity tree"}},
		"another image": {cmdline: "roothash=" + strings.Repeat("0", 64), ends: refused("bad-parameter"),
			shown: []string{"given twice with different values", "!verity tree"}},
	} {
		s.lan = &network{}
		s.files = map[string]string{"/etc/netstage/cmdline": "init={init}\nrootfs.roothash={roothash}\nboot.fail_timeout=1\n"}
		s.cmdline = "rootfs={url} " + s.cmdline
		t.Run(name, s.run)
	}
}

// What the initrd's policy forbids, no command line brings back: neither a
// shell nor an image that nothing vouches for.
func TestPolicyOfTheInitrd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy string
		scenario
	}{
		"no shell": {`{"version":1,"shell":"never"}`, scenario{
			cmdline: "boot.debug1 boot.debug1mounts boot.shell_on_fail rootfs.sha256={sha256}",
			shown:   []string{"the initrd's policy allows no shell: passing over boot.shell_on_fail and breakpoints", "!breakpoint before step"}}},
		"no shell on failure": {`{"version":1,"shell":"never"}`, scenario{
			cmdline: "boot.shell_on_fail rootfs.sha256=" + strings.Repeat("0", 64), ends: refused("mismatch"), shown: []string{"!i shell", "!f shell"}}},
		"nothing vouches": {`{"version":1,"verify":"required"}`, scenario{ends: refused("policy"), shown: []string{"nothing vouches for the image"}}},
		"vouched":         {`{"version":1,"verify":"required"}`, scenario{cmdline: "rootfs.sha256={sha256}", shown: []string{`"sha256": "{sha256}`}}},
		"what stage 2 would run": {`{"version":1,"verify":"required"}`, scenario{cmdline: "rootfs.sha256={sha256} systemd.run=/bin/sh rdinit=/bin/sh",
			ends: refused("policy"), shown: []string{"does not allow systemd.run, rdinit"}}},
		"that, where it may be": {`{"version":1,"verify":"required","cmdline":["systemd.run=/bin/sh"]}`, scenario{cmdline: "rootfs.sha256={sha256} systemd.run=/bin/sh"}},
		"a shell as init":       {`{"version":1,"shell":"never"}`, scenario{cmdline: "init=/nix/store/x/bin/sh", ends: refused("policy"), shown: []string{"only a file called init"}}},
		"not understood": {`{"version":1,"passwordHash":"$6$x$y"}`, scenario{
			cmdline: "boot.debug1 boot.shell_on_fail rootfs.sha256={sha256}", ends: refused("bad-parameter"),
			shown: []string{"passwordHash", "!i shell", "!breakpoint before step"}}},
	} {
		test.lan = &network{}
		test.files = map[string]string{"/etc/netstage/policy.json": test.policy}
		test.cmdline = "boot.fail_timeout=1 init={init} rootfs={url} " + test.cmdline
		t.Run(name, test.run)
	}
}

// A canary does everything but the switch: it ends by switching itself off,
// or by a reboot when something is wrong.
func TestBootCheck(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"good": {cmdline: "init={init}", ends: poweredOff, shown: []string{"boot.check: stage 2 would be started, init {init}", "!stage 2: pid 1", "!stage 2 done"}},
		"bad":  {cmdline: "init=/nix/store/none/init", ends: refused("no-init")},
	} {
		s.lan = &network{}
		s.cmdline = "boot.check boot.fail_timeout=1 rootfs.sha256={sha256} rootfs={url} " + s.cmdline
		t.Run(name, s.run)
	}
}

// The hash of the password "s", by "openssl passwd -6 -salt s s".
const hashOfS = "$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/\n"

func TestShellPassword(t *testing.T) {
	t.Parallel()
	const file = "/etc/netstage/shell-password"
	hash, err := password.New([]byte("geheim"))
	if err != nil {
		t.Fatal(err)
	}
	asks, offers := shows("Password for a shell"), shows("Keys: i shell")
	var around []step // the prompt, by every key that might
	for _, keys := range []string{"\x03", "\x1a", "\x1c", "\x04", "\r", "S\x04"} {
		around = append(around, offers, types("i"), asks, types(keys))
	}
	for name, s := range map[string]scenario{
		"breakpoint": {
			files: map[string]string{file: hash}, cmdline: "boot.debug1 init={init}",
			story: []step{asks, types("wrong\r"), shows("That is not the password."), asks, types("geheim\r"), prompt, types("exit\r")},
			shown: []string{"wrong password, number 1", "!geheim"},
		},
		"menu": {
			files: map[string]string{file: hashOfS}, cmdline: broken + "boot.shell_on_fail",
			story: []step{
				offers, types("i"), asks, types("\x03"), // back to the menu
				offers, types("f"), asks, types("\x03"),
				offers, types("f"), asks, types("s\r"), prompt,
				types("echo name=$(cat /proc/1/cmdline)\r"), shows("name=sh"), types("exit\r"),
			},
			ends: rebooted,
		},
		// The initrd's policy offers a shell to who knows the password,
		// whatever the command line says.
		"policy": {
			files: map[string]string{file: hashOfS, "/etc/netstage/policy.json": `{"version":1,"shell":"password"}`}, cmdline: broken,
			story: []step{offers, types("i"), asks, types("s\r"), prompt, types("exit 1\r"), offers, types("r")},
			ends:  rebooted,
		},
		// Noise on the line may open the prompt; the machine comes back all the
		// same.
		"nobody is there": {
			files: map[string]string{file: hashOfS}, cmdline: "boot.debug1 boot.fail_timeout=1 init={init}",
			story: []step{asks}, ends: refused("breakpoint"), shown: []string{"time for the password is over", "!leaves it"},
		},
		"no key goes around it": {
			files: map[string]string{file: hashOfS}, cmdline: broken + "boot.shell_on_fail",
			story: append(around, offers, types("r")), ends: rebooted, shown: []string{"!leaves it"},
		},
		// The child that asks may die; the next one asks too.
		"the child is killed": {
			files: map[string]string{file: hashOfS}, cmdline: "boot.debug1 boot.shell_on_fail init={init}",
			story: []step{asks, signals(syscall.SIGKILL), shows("boot failed: killed"), offers, types("i"), asks, types("\r"), offers, types("r")},
			ends:  rebooted, shown: []string{"!leaves it"},
		},
		"a hash that is none": {
			files: map[string]string{file: "geheim\n"}, cmdline: broken + "boot.debug1 boot.shell_on_fail boot.fail_timeout=1",
			ends: ending{end: nsmachine.Rebooted},
			shown: []string{"no shell will be offered: the password's hash /etc/netstage/shell-password: no hash of a known kind",
				"boot failed: no-init", "!breakpoint before", "!i shell", "!leaves it", "!geheim"},
		},
	} {
		s.copies = inInitrd
		t.Run(name, s.run)
	}
}
