package qemutests

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/stage1/password"
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

// The hash of the password "s", by "openssl passwd -6 -salt s s".
const hashOfS = "$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/\n"

// withPassword is a machine whose shells ask for a password.
func withPassword(t *testing.T, hash, cmdline string) *nsmachine.Machine {
	t.Helper()
	a := store(t, classic())
	file := filepath.Join(t.TempDir(), "shell-password")
	writeFile(t, file, hash)
	return boot(t, nsmachine.Config{
		Files: map[string]string{"/nix-store.squashfs": a.path, "/etc/netstage/shell-password": file}, Cmdline: cmdline,
	})
}

func TestShellPassword(t *testing.T) {
	t.Parallel()
	hash, err := password.New([]byte("geheim"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("breakpoint", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, hash, "boot.debug1 init="+system.Init)
		m.Expect("Password for a shell")
		m.Type("wrong\r")
		m.Expect("That is not the password.")
		m.Expect("Password for a shell")
		m.Type("geheim\r")
		m.Expect("leaves it")
		m.Type("exit\r")
		expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "wrong password, number 1", "!geheim")
	})
	t.Run("menu", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, hashOfS, broken+"boot.shell_on_fail")
		for _, keys := range []string{"i", "f"} {
			m.Expect("Keys: i shell")
			m.Type(keys)
			m.Expect("Password for a shell")
			m.Type("\x03") // back to the menu
		}
		m.Expect("Keys: i shell")
		m.Type("f")
		m.Expect("Password for a shell")
		m.Type("s\r")
		m.Expect("leaves it")
		m.Type("echo name=$(cat /proc/1/cmdline)\r")
		m.Expect("name=sh")
		m.Type("exit\r")
		expectEnd(t, m, nsmachine.Rebooted)
	})
	// The initrd's policy offers a shell to who knows the password, whatever the command line says.
	t.Run("policy", func(t *testing.T) {
		t.Parallel()
		a, dir := store(t, classic()), t.TempDir()
		writeFile(t, dir+"/hash", hashOfS)
		writeFile(t, dir+"/policy", `{"version":1,"shell":"password"}`)
		m := boot(t, nsmachine.Config{Cmdline: broken, Files: map[string]string{
			"/nix-store.squashfs": a.path, "/etc/netstage/shell-password": dir + "/hash", "/etc/netstage/policy.json": dir + "/policy",
		}})
		m.Expect("Keys: i shell")
		m.Type("i")
		m.Expect("Password for a shell")
		m.Type("s\r")
		m.Expect("leaves it")
		m.Type("exit 1\r")
		m.Expect("Keys: i shell")
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted)
	})
	// Noise on the line may open the prompt; the machine comes back all the same.
	t.Run("nobody is there", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, hashOfS, "boot.debug1 boot.fail_timeout=1 init="+system.Init)
		m.Expect("Password for a shell")
		expectEnd(t, m, nsmachine.Rebooted, "time for the password is over", "boot failed: breakpoint", "!leaves it", "!stage 2: pid 1")
	})
	t.Run("no key goes around it", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, hashOfS, broken+"boot.shell_on_fail")
		for _, keys := range []string{"\x03", "\x1a", "\x1c", "\x04", "\r", "S\x04"} {
			m.Expect("Keys: i shell")
			m.Type("i")
			m.Expect("Password for a shell")
			m.Type(keys)
		}
		m.Expect("Keys: i shell")
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted, "!leaves it")
	})
	// The child that asks may die; the next one asks too.
	t.Run("the child is killed", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, hashOfS, "boot.debug1 boot.shell_on_fail init="+system.Init)
		m.Expect("Password for a shell")
		if err := syscall.Kill(childNamed(t, m.Pid(), "boot"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		m.Expect("boot failed: killed")
		m.Expect("Keys: i shell")
		m.Type("i")
		m.Expect("Password for a shell")
		m.Type("\r")
		m.Expect("Keys: i shell")
		m.Type("r")
		expectEnd(t, m, nsmachine.Rebooted, "!leaves it")
	})
	t.Run("a hash that is none", func(t *testing.T) {
		t.Parallel()
		m := withPassword(t, "geheim\n", broken+"boot.debug1 boot.shell_on_fail boot.fail_timeout=1")
		expectEnd(t, m, nsmachine.Rebooted, "no shell will be offered: the password's hash /etc/netstage/shell-password: no hash of a known kind",
			"boot failed: no-init", "!breakpoint before", "!i shell", "!leaves it", "!geheim")
	})
}
