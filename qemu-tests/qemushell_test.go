package qemutests

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// On a real serial line, and from the host by OpenSSH's client: a password, the
// shell at a breakpoint, the kernel log read through a burst that overruns it,
// Ctrl-C, and who may not log in.
func TestQEMUShell(t *testing.T) {
	t.Parallel()
	a, keys := store(t, classic()), newSSHKeys(t)
	var files []initrd.File
	for target, source := range keys.files() {
		files = append(files, initrd.File{Source: source, Target: target})
	}
	hash := filepath.Join(t.TempDir(), "shell-password")
	writeFile(t, hash, hashOfS)
	files = append(files, initrd.File{Source: hash, Target: "/etc/netstage/shell-password"})
	c := guestOf(t, xzModules, initrd.Options{Init: build(t, agent), Modules: []string{"virtio_net"}, Files: files})
	port := freePort(t)
	c.NICs = []vm.NIC{{Backend: fmt.Sprintf("user,hostfwd=tcp:127.0.0.1:%s-:22", port)}}
	c.Direct, c.Image, c.Init, c.Append = true, a.path, system.Init, "boot.ssh boot.break=root loglevel=4"
	m := start(t, c)
	m.expect(`breakpoint before step "root"`)
	m.expect("Password for a shell")
	m.send("t\r")
	m.expect("That is not the password.")
	m.expect("Password for a shell")
	m.send("s\r")
	m.expect("leaves it")
	ssh := func(key, command string) (string, error) {
		out, err := exec.Command("ssh", append(keys.options(t, key), "-p", port, "root@127.0.0.1", command)...).CombinedOutput()
		return string(out), err
	}
	if out, err := ssh("right", "boot status"); err != nil || !strings.Contains(out, "stands before step root") {
		t.Fatalf("boot status: %v, %s", err, out)
	}
	if out, err := ssh("wrong", "true"); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
		t.Fatalf("the wrong key: %v, %s", err, out)
	}

	m.send("boot log -f\r")
	m.expect("warning stage-1-init: ssh: ")
	m.send("\x13") // Ctrl-S: the terminal takes no more
	if out, err := ssh("right", "i=0; while [ $i -lt 10000 ]; do echo burst $i; i=$((i+1)); done >/dev/kmsg; echo said"); err != nil || !strings.Contains(out, "said") {
		t.Fatalf("the burst: %v, %s", err, out)
	}
	m.send("\x11") // Ctrl-Q
	m.expect("lines lost: the kernel logs faster than they are read")
	m.expect("burst 9999")
	m.send("\x03")
	m.send("echo st=$? $TERM\r")
	m.expect("st=130 vt220")
	m.send("exit\r")
	m.end(vm.PowerOff, "stage 2 done", "was not let in", "wrong password, number 1", "the password was right", "!process: sshd")
}

// freePort is a TCP port of this host that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
