package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"netstage/debug/sentence"
	"netstage/debug/shell"
)

// TestMain is the shell when it is called sh, as the agent is.
func TestMain(m *testing.M) {
	if os.Args[0] == "sh" {
		status, err := shell.Run(context.Background(), shell.Options{Args: os.Args[1:], Prompt: "test", Greeting: "hello operator"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// newKey makes a key, writes it to a file and returns its public half as a line
// of authorized_keys.
func newKey(t *testing.T, file string) (private, line []byte) {
	t.Helper()
	public, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(secret, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	private = pem.EncodeToMemory(block)
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	return private, ssh.MarshalAuthorizedKey(key)
}

// place is a server, and a folder with keys and known hosts for the OpenSSH
// client.
type place struct {
	t    *testing.T
	dir  string
	port string
	stop func() // waits for the server's end

	mu       sync.Mutex
	log      bytes.Buffer
	loggedIn []int
}

func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *place) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func open(t *testing.T) *place {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("there is no OpenSSH client (Debian has it in openssh-client)")
	}
	p := &place{t: t, dir: t.TempDir()}
	host, hostLine := newKey(t, filepath.Join(p.dir, "host"))
	_, right := newKey(t, filepath.Join(p.dir, "right"))
	newKey(t, filepath.Join(p.dir, "wrong"))
	keys, err := ParseKeys(host, append([]byte("# operators\nno-port-forwarding "), right...))
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, p.port, _ = net.SplitHostPort(l.Addr().String())
	if err := os.WriteFile(filepath.Join(p.dir, "known"), fmt.Appendf(nil, "[127.0.0.1]:%s %s", p.port, hostLine), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, Options{
			Keys: keys, Exe: exe, Env: []string{"PATH=/bin:/usr/bin", "GORACE=atexit_sleep_ms=0"}, Greeting: "welcome\r\n", Farewell: "\r\nfarewell\r\n",
			Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(p))),
			LoggedIn: func(n int) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.loggedIn = append(p.loggedIn, n)
			},
		})
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// ssh is a call of the client, with a key of the folder.
func (p *place) ssh(key string, args ...string) *exec.Cmd {
	return exec.Command("ssh", append([]string{
		"-F", "/dev/null", "-i", filepath.Join(p.dir, key), "-p", p.port, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + filepath.Join(p.dir, "known"), "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=INFO",
	}, args...)...)
}

func TestCommands(t *testing.T) {
	p := open(t)
	for _, test := range []struct {
		command, stdin, out, err string
		status                   int
	}{
		{command: "echo one; echo two >&2; exit 7", out: "one\n", err: "two\n", status: 7},
		{command: "true"},
		{command: "cat; echo end", stdin: "in\n", out: "in\nend\n"},
		{command: "echo TERM=$TERM tty=$(test -t 0 && echo yes)", out: "TERM=vt220 tty=\n"},
		{command: "head -c 3000000 /dev/zero | wc -c", out: "3000000\n"},
	} {
		cmd := p.ssh("right", "root@127.0.0.1", test.command)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(test.stdin), &out, &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if status := cmd.ProcessState.ExitCode(); status != test.status || out.String() != test.out || errs.String() != test.err {
			t.Errorf("%s: status %d, %q, %q", test.command, status, out.String(), errs.String())
		}
	}
	if !strings.Contains(p.Log(), "logged in with key SHA256:") {
		t.Errorf("the log:\n%s", p.Log())
	}
}

// Who has no key of the list gets nothing, and no way but the key is offered.
func TestRefused(t *testing.T) {
	p := open(t)
	for name, cmd := range map[string]*exec.Cmd{
		"another key":  p.ssh("wrong", "root@127.0.0.1", "echo in"),
		"another user": p.ssh("right", "admin@127.0.0.1", "echo in"),
		"no key":       p.ssh("none", "root@127.0.0.1", "echo in"),
	} {
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Permission denied (publickey)") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	if !strings.Contains(p.Log(), "was not let in") || strings.Contains(p.Log(), "logged in") {
		t.Errorf("the log:\n%s", p.Log())
	}
}

// Nothing of the protocol but shells and commands is there.
func TestNoForwarding(t *testing.T) {
	p := open(t)
	for name, test := range map[string]struct {
		cmd  *exec.Cmd
		want string
	}{
		"local":     {p.ssh("right", "-W", "127.0.0.1:"+p.port, "root@127.0.0.1"), "administratively prohibited"},
		"remote":    {p.ssh("right", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "root@127.0.0.1", "echo in"), "remote port forwarding failed"},
		"subsystem": {p.ssh("right", "-s", "root@127.0.0.1", "sftp"), "subsystem request failed"},
	} {
		out, err := test.cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

func TestTerminal(t *testing.T) {
	p := open(t)
	o := p.sit()
	o.see("welcome")
	o.see("hello operator")
	o.see(" # ")
	o.typ("stty size; echo $TERM\r")
	o.see("37 101\r\nxterm-test\r\n")
	o.typ("while [ \"$(stty size)\" != '22 66' ]; do sleep 0.02; done; echo resi''zed\r")
	if err := pty.Setsize(o.master, &pty.Winsize{Cols: 66, Rows: 22}); err != nil {
		t.Fatal(err)
	}
	o.see("resized")
	o.typ("echo be''gun; sleep 1000\r")
	o.see("begun")
	o.typ("\x03")
	o.typ("echo st=$?\r")
	o.see("st=130")
	o.typ("exit 9\r")
	o.see("closed.")
	if err := o.cmd.Wait(); o.cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("%v", err)
	}
}

// Who leaves without a word takes the session's processes along.
func TestClientDies(t *testing.T) {
	p := open(t)
	o := p.sit("echo pid=$$.; sleep 1000")
	o.see("pid=")
	o.cmd.Process.Kill()
	o.cmd.Wait()
	p.waitLog("logged out")
	p.noChildren()
}

// The end of the server ends sessions, with a word to those who look.
func TestStop(t *testing.T) {
	p := open(t)
	o := p.sit()
	o.see(" # ")
	o.typ("sleep 1000 & sleep 1001\r")
	o.see("[1] sleep 1000 &")
	p.stop()
	o.see("farewell")
	p.noChildren()
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := fmt.Sprint(p.loggedIn); got != "[1 0]" {
		t.Errorf("logged in: %s", got)
	}
}

func (p *place) waitLog(text string) {
	p.t.Helper()
	for range 1000 {
		if strings.Contains(p.Log(), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("no %q in the log:\n%s", text, p.Log())
}

// noChildren fails when this process, which ran the sessions, has any process
// left.
func (p *place) noChildren() {
	p.t.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range found {
		status, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) || strings.HasPrefix(string(status), "Name:\tssh\n") {
			continue
		}
		p.t.Errorf("a process is left:\n%.300s", status)
	}
}

// Silent connections of one address don't lock anybody out, nor does a request
// of 100,000 bytes, which is logged in a line that can be read.
func TestStrangersDoNotLockOut(t *testing.T) {
	p := open(t)
	for range 40 {
		conn, err := net.Dial("tcp", "127.0.0.1:"+p.port)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+p.port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "SSH-2.0-%s\r\n", strings.Repeat("x", 100000))
	if out, err := p.ssh("right", "root@127.0.0.1", "echo in").CombinedOutput(); err != nil || !strings.Contains(string(out), "in") {
		t.Errorf("locked out: %v: %s", err, out)
	}
	for line := range strings.Lines(p.Log()) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}
