package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm/transcript"
)

// An End is how the run of a machine ended.
type End string

// The ends of machines.
const (
	PowerOff End = "power off" // by the guest itself
	Reset    End = "reset"     // the guest rebooted; QEMU ends then
	Panic    End = "panic"     // the guest's kernel panicked, and rebooted
	Stopped  End = "stopped"   // from outside: by Close, or a user's Ctrl-A X
	Failed   End = "failed"    // QEMU could not run
)

// A Machine is a machine that runs, or did.
type Machine struct {
	config  Config
	args    []string
	dir     string // of temporary files
	console *transcript.Transcript
	stdin   *os.File
	stderr  bytes.Buffer // of QEMU; to be read after exited

	process *os.Process
	control *qmp // nil if QEMU ended at once

	exited  chan struct{} // closed when all below is set
	end     End
	failure error
	peak    int64

	work    sync.WaitGroup
	closing sync.Once
	cleanup []func()
}

// Start switches a machine on. It runs until it ends by itself, ctx ends, or
// it is closed; close it in any case.
func Start(ctx context.Context, c Config) (machine *Machine, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkHost(c); err != nil {
		return nil, err
	}
	if err := c.keepVariables(); err != nil {
		return nil, err
	}
	p, err := newPlan(c)
	if err != nil {
		return nil, err
	}
	m := &Machine{config: c, console: transcript.New(c.Console), exited: make(chan struct{})}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	if m.dir, err = os.MkdirTemp("", "netstage-vm-"); err != nil {
		return nil, err
	}
	m.cleanup = append(m.cleanup, func() { os.RemoveAll(m.dir) })

	bootURL := c.BootURL
	if bootURL == "" && (c.Kernel != "" || c.Dir != "") {
		port, err := m.serve(p)
		if err != nil {
			return nil, err
		}
		bootURL = fmt.Sprintf("http://%s:%d/boot.ipxe", host, port)
	}
	at := paths{qmp: filepath.Join(m.dir, "qmp")}
	if c.EFI != "" {
		at.esp = filepath.Join(m.dir, "esp")
		if err := systemPartition(c.EFI, at.esp); err != nil {
			return nil, err
		}
	}
	if c.Direct {
		if at.initrd, err = joinInitrds(c.Initrds, filepath.Join(m.dir, "initrd")); err != nil {
			return nil, err
		}
	}
	m.args = arguments(c, p, at, HaveKVM(), bootURL)
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// serve starts the HTTP server of the machine and returns its port.
func (m *Machine) serve(p plan) (int, error) {
	server, err := netboot.New(netboot.Options{
		Dir: m.config.Dir, Files: p.files, Boot: p.boot, Append: parameters(m.config), Access: m.config.Access, Log: m.config.Log,
	})
	if err != nil {
		return 0, err
	}
	m.cleanup = append(m.cleanup, func() { server.Close() })
	if p.boot == nil && m.config.EFI == "" && !hasOwn(m.config.Dir) {
		// The machine could only say so and reboot.
		if _, err := server.Plan(); err != nil {
			return 0, fmt.Errorf("%s: %w", m.config.Dir, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var handler http.Handler = server
	if m.config.Wrap != nil {
		handler = m.config.Wrap(server)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(m.config.Log.Handler(), slog.LevelDebug)}
	m.work.Go(func() { web.Serve(l) })
	m.cleanup = append(m.cleanup, func() { web.Close() })
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run starts QEMU and what belongs to it.
func (m *Machine) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, m.args[0], m.args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = m.console, &m.stderr
	// A Ctrl-C at the terminal is for us, who then end QEMU; and it must not
	// outlive us, even if we are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	input, keyboard, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin, m.stdin = input, keyboard

	patience, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	started := make(chan error, 1)
	connected := make(chan struct{})
	m.work.Go(func() {
		// The death signal is sent when the thread that started QEMU ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		input.Close()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		cancel()
		m.console.Close()
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			m.peak = usage.Maxrss << 10
		}
		<-connected
		m.ended(err)
	})
	if err := <-started; err != nil {
		keyboard.Close()
		return fmt.Errorf("start QEMU: %w", err)
	}
	m.process = cmd.Process
	m.cleanup = append(m.cleanup, func() { keyboard.Close() })
	if m.config.Input != nil {
		// Not waited for: a read from a terminal can't be interrupted.
		go io.Copy(keyboard, m.config.Input)
	}

	m.control, err = dialQMP(patience, filepath.Join(m.dir, "qmp"))
	if err != nil {
		m.config.Log.Debug(err.Error())
	}
	close(connected)
	return nil
}

// ended decides how the machine ended.
func (m *Machine) ended(err error) {
	reason := ""
	if m.control != nil {
		<-m.control.ended
		reason = m.control.reason()
	}
	switch {
	case reason == "guest-shutdown":
		m.end = PowerOff
	case m.console.Contains("Kernel panic - not syncing"):
		m.end = Panic
	case strings.HasPrefix(reason, "guest-"):
		m.end = Reset
	case err != nil && reason == "" && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		m.end = Failed
		m.failure = fmt.Errorf("QEMU: %w: %s", err, strings.TrimSpace(m.stderr.String()))
	default:
		m.end = Stopped
	}
	close(m.exited)
}

// Wait returns how the machine ended, once it has. The error is not nil when
// ctx ended first, or when QEMU could not run.
func (m *Machine) Wait(ctx context.Context) (End, error) {
	select {
	case <-m.exited:
		return m.end, m.failure
	case <-ctx.Done():
		return "", m.explain(fmt.Errorf("the machine did not end: %w", context.Cause(ctx)))
	}
}

// Close ends the machine if it still runs, and everything that belongs to it.
func (m *Machine) Close() error {
	m.closing.Do(func() {
		// QEMU ends at once at SIGTERM unless it hangs.
		m.process.Signal(syscall.SIGTERM)
		select {
		case <-m.exited:
		case <-time.After(3 * time.Second):
			m.process.Kill()
			<-m.exited
		}
		if m.control != nil {
			m.control.close()
		}
		m.release()
	})
	return nil
}

// release undoes what Start has done, the last first.
func (m *Machine) release() {
	for i := len(m.cleanup) - 1; i >= 0; i-- {
		m.cleanup[i]()
	}
	m.cleanup = nil
	m.work.Wait()
}

// hasOwn tells whether a folder has a script or folders of its machines' own,
// which decide what is booted.
func hasOwn(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.IsDir() || e.Name() == "boot.ipxe" })
}
