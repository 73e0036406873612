// Package nsmachine boots an initramfs without a virtual machine: its /init
// is PID 1 of new namespaces, with a tmpfs as root, a pty as console and veth
// NICs, on the host's kernel. Loop devices, squashfs, overlay, DHCP and HTTP
// are real; a boot takes a third of a second. Needs root.
package nsmachine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/vm/transcript"
)

// Config says what machine to boot.
type Config struct {
	Init      string            // agent binary
	Files     map[string]string // further files of the initramfs: path → file or directory here
	Cmdline   string            // /proc/cmdline
	Env       []string          // what the kernel gives to init
	LAN       *LAN              // nil: no NIC
	MAC       string            // of the NIC; the kernel's choice when empty
	NoCarrier bool              // the NIC's cable is out until LAN.Cable puts it in
	Ready     bool              // the NIC is up and its port forwards before init is executed
	Watchdog  string            // pipe here that is /dev/watchdog
	Size      string            // of the initramfs, as tmpfs takes it; half the memory when empty
}

// An End is how a machine ended.
type End string

// The ends of a machine, by the signals of reboot(2) in a PID namespace.
const (
	Rebooted   End = "rebooted"
	PoweredOff End = "powered off"
	Panicked   End = "panicked" // PID 1 exited
)

// patience is how long a machine is waited for, which takes a second: its host
// may be busy with much else.
const patience = 3 * time.Minute

// Machine is a running machine.
type Machine struct {
	Console *transcript.Transcript
	Kmsg    *transcript.Transcript
	t       testing.TB
	cmd     *exec.Cmd
	master  *os.File
	gate    gate // of the console's reader
	copying sync.WaitGroup
	slaves  []*os.File // held open: without a user a pty's other end reads an error
	done    chan struct{}
	end     End
}

// Start boots a machine, which is killed when the test ends.
func Start(t testing.TB, c Config) *Machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces with mounts need root")
	}
	m := &Machine{t: t, Console: transcript.New(nil), Kmsg: transcript.New(nil), done: make(chan struct{})}
	consoleSlave := m.pty(gated{&m.gate, m.Console}, &m.master)
	kmsgSlave := m.pty(m.Kmsg, nil)

	files := map[string]string{"/init": c.Init}
	for to, from := range c.Files {
		files[to] = from
	}
	text, err := json.Marshal(plan{Files: files, Cmdline: c.Cmdline, Console: consoleSlave.Name(), Kmsg: kmsgSlave.Name(), Watchdog: c.Watchdog, Env: c.Env, Size: c.Size})
	if err != nil {
		t.Fatal(err)
	}
	ready, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = []string{launchEnv + "=" + string(text), "TMPDIR=" + t.TempDir()}
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = consoleSlave, consoleSlave, consoleSlave
	m.cmd.ExtraFiles = []*os.File{ready}
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		Setsid:     true,
	}
	err = m.cmd.Start()
	ready.Close()
	m.slaves = []*os.File{consoleSlave, kmsgSlave}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	if c.LAN != nil {
		c.LAN.Plug(t, m.cmd.Process.Pid, "eth0", c.MAC)
		if c.NoCarrier {
			c.LAN.Cable(t, false)
		}
		if c.Ready {
			c.LAN.ready(t, m.cmd.Process.Pid, "eth0")
		}
	}
	hold.Close()
	go m.wait()
	return m
}

// pty makes a pseudo terminal whose output goes to text, and returns the end
// that the machine gets.
func (m *Machine) pty(text io.WriteCloser, master **os.File) *os.File {
	m.t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := pty.Setsize(ours, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		m.t.Fatal(err)
	}
	if master != nil {
		*master = ours
	}
	m.copying.Go(func() {
		io.Copy(text, ours) // ends with EIO when the machine is gone
		text.Close()
	})
	m.t.Cleanup(func() {
		m.gate.retire()
		ours.Close()
		m.copying.Wait()
	})
	return theirs
}

func (m *Machine) wait() {
	defer close(m.done)
	err := m.cmd.Wait()
	m.gate.retire()
	for _, slave := range m.slaves {
		slave.Close()
	}
	m.copying.Wait() // what the machine said last is still on its way
	status, _ := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && status.Signal() == unix.SIGHUP:
		m.end = Rebooted
	case status.Signaled() && status.Signal() == unix.SIGINT:
		m.end = PoweredOff
	case status.Exited():
		m.end = Panicked
	default:
		m.end = End(fmt.Sprint(err))
	}
}

func (m *Machine) kill() {
	m.cmd.Process.Kill()
	<-m.done
	if m.t.Failed() {
		m.t.Logf("console:\n%s", m.Console.String())
		m.t.Logf("kernel log:\n%s", m.Kmsg.String())
	}
}

// Pid is the machine's PID 1 as the host sees it.
func (m *Machine) Pid() int { return m.cmd.Process.Pid }

// Spent is the processors' time of all that the machine ran, once it has
// ended.
func (m *Machine) Spent() time.Duration {
	return m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
}

// Expect waits until the console shows text.
func (m *Machine) Expect(text string) {
	m.t.Helper()
	m.expect(m.Console, "console", text)
}

// ExpectKmsg waits until text is in the kernel log.
func (m *Machine) ExpectKmsg(text string) {
	m.t.Helper()
	m.expect(m.Kmsg, "kernel log", text)
}

func (m *Machine) expect(where *transcript.Transcript, name, text string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	if _, _, err := where.Expect(ctx, transcript.Text(text)); err != nil {
		m.t.Fatalf("no %q on the %s: %v", text, name, err)
	}
}

// Type sends keys to the console.
func (m *Machine) Type(keys string) {
	m.t.Helper()
	if err := m.TryType(keys); err != nil {
		m.t.Fatal(err)
	}
}

// TryType is Type for a machine that may have ended, or that reads nothing:
// what its terminal does not take within a second is dropped.
func (m *Machine) TryType(keys string) error {
	m.master.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(m.master, keys); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("type %q: %w", keys, err)
	}
	return nil
}

// ReadConsole has the console read, as it is from the start, or not: then it
// takes no more once the terminal's buffers are full.
func (m *Machine) ReadConsole(read bool) {
	if read {
		m.gate.open()
	} else {
		m.gate.shut()
	}
}

// Ended is closed when the machine has ended.
func (m *Machine) Ended() <-chan struct{} { return m.done }

// End waits for the machine's end.
func (m *Machine) End() End {
	m.t.Helper()
	return m.EndWithin(patience)
}

// EndWithin waits for the machine's end, which is to come within d.
func (m *Machine) EndWithin(d time.Duration) End {
	m.t.Helper()
	select {
	case <-m.done:
		return m.end
	case <-time.After(d):
		m.t.Fatalf("the machine did not end within %s", d)
		return ""
	}
}
