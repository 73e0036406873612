package qemutests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/cmd/netstage/vm/transcript"
	"netstage/fetch/faulty"
)

// sshKeys is a folder with keys that OpenSSH made: host, right and wrong.
type sshKeys struct{ dir string }

func newSSHKeys(t *testing.T) sshKeys {
	t.Helper()
	k := sshKeys{t.TempDir()}
	for _, name := range []string{"host", "right", "wrong"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k.path(name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v, %s", err, out)
		}
	}
	return k
}

func (k sshKeys) path(name string) string { return filepath.Join(k.dir, name) }

// files are those of the initrd.
func (k sshKeys) files() map[string]string {
	return map[string]string{"/etc/netstage/authorized_keys": k.path("right.pub"), "/etc/netstage/ssh_host_ed25519_key": k.path("host")}
}

// options are those of a client that knows the host key.
func (k sshKeys) options(t *testing.T, key string) []string {
	t.Helper()
	public, err := os.ReadFile(k.path("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, k.path("known"), "machine "+string(public))
	return []string{
		"-F", "/dev/null", "-i", k.path(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "HostKeyAlias=machine",
		"-o", "UserKnownHostsFile=" + k.path("known"), "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
	}
}

// remote is a machine with boot.ssh on a LAN.
type remote struct {
	*played
	keys    sshKeys
	address string
}

// withSSH boots one and waits until it can be reached.
func withSSH(t *testing.T, cmdline string, script ...faulty.Behaviour) remote {
	t.Helper()
	keys := newSSHKeys(t)
	p := scenario{lan: mirrored(script...), copies: keys.files(), cmdline: "boot.ssh rootfs={url} " + cmdline}.start(t)
	r := remote{p, keys, ""}
	r.shows("ssh: ssh root@10.77.0.", 1)
	_, rest, _ := strings.Cut(r.console(), "ssh: ssh root@")
	r.address, _, _ = strings.Cut(rest, ", host key")
	return r
}

// shows waits until the console has shown text so many times, wherever that is
// among what else it shows.
func (r remote) shows(text string, times int) {
	r.t.Helper()
	for range 3000 {
		if strings.Count(r.console(), text) >= times {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("%q is not on the console %d times", text, times)
}

func (r remote) ssh(key string, args ...string) *exec.Cmd {
	return r.lan.Command("ssh", append(append(r.keys.options(r.t, key), "root@"+r.address), args...)...)
}

// does runs a command on the machine and wants an output and a status.
func (r remote) does(command, want string, status int) {
	r.t.Helper()
	cmd := r.ssh("right", command)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(out.String(), want) {
		r.t.Fatalf("%s: status %d, want %d; %q, %q", command, got, status, out.String(), errs.String())
	}
}

// At a breakpoint, by the real client: the machine is who it says it is, the
// right key gets a shell, no other does, and nobody is left when stage 2 comes.
func TestSSH(t *testing.T) {
	t.Parallel()
	r := withSSH(t, "boot.break=root init={init}")
	fingerprint, err := exec.Command("ssh-keygen", "-l", "-f", r.keys.path("host.pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	r.shows(strings.Fields(string(fingerprint))[1], 1)
	r.expect("leaves it")
	r.does("ls /image; exit 7", "image", 7)
	r.does("cat /proc/cmdline", "boot.ssh", 0)
	for key, want := range map[string]string{"wrong": "Permission denied (publickey)"} {
		if out, err := r.ssh(key, "true").CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("key %s: %v, %s", key, err, out)
		}
	}
	r.shows("was not let in", 1)
	stays := r.ssh("right", "-tt")
	out := &bytes.Buffer{}
	stays.Stdout = out
	hold, err := stays.StdinPipe() // a terminal that nobody types at
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if err := stays.Start(); err != nil {
		t.Fatal(err)
	}
	r.shows("logged in with key SHA256:", 3)
	r.send("exit\r")
	stays.Wait()
	if !strings.Contains(out.String(), "The boot leaves the initrd") {
		t.Errorf("no farewell: %q", out.String())
	}
	r.ends(stage2, "!process: sshd", "!process: sh ")
}

// While the failure menu counts down the machine can be reached, and does not
// reboot under who is logged in.
func TestSSHHoldsTheCountdown(t *testing.T) {
	t.Parallel()
	r := withSSH(t, broken+"boot.fail_timeout=10")
	r.expect("Reboot in")
	stays := r.ssh("right", "cat; echo gone")
	hold, err := stays.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stays.Start(); err != nil {
		t.Fatal(err)
	}
	r.expect("Somebody is logged in: the countdown waits.")
	r.does("dmesg | true; echo a''live", "alive", 0)
	r.send(" ") // tries again, and fails again
	r.expect("SSH:     ssh root@" + r.address)
	r.expect("host key SHA256:")
	hold.Close()
	if err := stays.Wait(); err != nil {
		t.Error(err)
	}
	r.ends(rebooted, "boot failed: no-init", "No key was pressed: rebooting")
}

// From afar a download that hangs is begun anew.
func TestSSHGoesBack(t *testing.T) {
	t.Parallel()
	r := withSSH(t, "boot.break=root init={init}", faulty.Behaviour{Hang: true})
	r.does("boot status", "The boot is in step image.", 0)
	r.does("boot retry", "going back to step image", 0)
	r.expect("going back to step image, as somebody asked")
	r.expect("leaves it")
	r.send("exit\r")
	r.ends(stage2)
	if n := len(r.requests()); n != 2 {
		t.Errorf("the image was asked for %d times", n)
	}
}

// The server outlives the process that does the work, in that of the rescue.
func TestSSHAfterTheChildsDeath(t *testing.T) {
	t.Parallel()
	r := withSSH(t, "boot.break=root init={init}")
	r.expect("leaves it")
	if err := syscall.Kill(childNamed(t, r.machine.Pid(), "boot"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.expect("boot failed: killed")
	r.shows("ssh: ssh root@"+r.address, 2)
	r.does("echo a''live", "alive", 0)
	r.send("r")
	r.ends(rebooted)
}

// Where the server itself dies it comes back, and the boot does not notice.
func TestSSHServerDies(t *testing.T) {
	t.Parallel()
	r := withSSH(t, "boot.break=root init={init}")
	r.expect("leaves it")
	r.send("kill -9 $(ps | grep ' sshd$' | while read pid rest; do echo $pid; done)\r")
	r.expect("ssh: the server ended")
	r.shows("ssh: ssh root@"+r.address, 2)
	r.does("echo a''live", "alive", 0)
	r.send("exit\r")
	r.ends(stage2)
}

// boot.ssh alone opens nothing: it takes keys, and a policy that allows it.
func TestSSHRefused(t *testing.T) {
	t.Parallel()
	keys := newSSHKeys(t)
	limited := map[string]string{"/etc/netstage/authorized_keys": `command="/bin/date" ` + string(read(t, keys.path("right.pub")))}
	for name, s := range map[string]scenario{
		"no keys": {copies: inInitrd, ends: rebooted, shown: []string{"boot.ssh: open /etc/netstage/ssh_host_ed25519_key: no such file"}},
		"a limited key": {copies: map[string]string{"/nix-store.squashfs": "{image}", "/etc/netstage/ssh_host_ed25519_key": keys.path("host")}, files: limited,
			ends: rebooted, shown: []string{"can't be kept"}},
		"the policy": {copies: inInitrd, files: map[string]string{"/etc/netstage/policy.json": `{"version":1,"shell":"never"}`},
			shown: []string{"passing over boot.ssh"}},
	} {
		s.cmdline = "boot.ssh boot.fail_timeout=1 init={init}"
		t.Run(name, s.run)
	}
}

// A terminal by the real client: its size, Ctrl-C, and where the boot stands.
func TestSSHTerminal(t *testing.T) {
	t.Parallel()
	r := withSSH(t, "boot.break=root init={init}")
	r.expect("leaves it")
	stays := r.ssh("right", "-tt")
	out := transcript.New(io.Discard)
	stays.Stdout = out
	keys, err := stays.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stays.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, turn := range []struct{ shown, keys string }{
		{"# ", "echo st''arted; sleep 1000\r"}, {"started", "\x03"}, {"# ", "echo status=$?\r"}, {"status=130", "exit 5\r"},
	} {
		if _, _, err := out.Expect(ctx, transcript.Text(turn.shown)); err != nil {
			t.Fatalf("no %q in %q: %v", turn.shown, out, err)
		}
		fmt.Fprint(keys, turn.keys)
	}
	stays.Wait()
	if status := stays.ProcessState.ExitCode(); status != 5 {
		t.Errorf("status %d, %q", status, out)
	}
	r.send("exit\r")
	r.ends(stage2)
}
