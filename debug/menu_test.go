package debug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"

	"netstage/debug/console"
	"netstage/stage1/fault"
)

// operator is a person at a terminal: reads what is shown, types keys.
type operator struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	tty    *console.TTY

	mu    sync.Mutex
	cond  *sync.Cond
	shown bytes.Buffer
	gone  bool
}

func sitDown(t *testing.T) *operator {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	tty, err := console.Open(slave.Name())
	if err != nil {
		t.Fatal(err)
	}
	op := &operator{t: t, master: master, slave: slave, tty: tty}
	op.cond = sync.NewCond(&op.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			op.mu.Lock()
			op.shown.Write(buf[:n])
			op.gone = err != nil
			op.cond.Broadcast()
			op.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tty.Close(); _ = slave.Close(); _ = master.Close(); <-done })
	return op
}

// wait waits until text is shown; what was shown up to there is forgotten.
func (op *operator) wait(text string) {
	op.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { op.mu.Lock(); op.gone = true; op.cond.Broadcast(); op.mu.Unlock() })
	defer late.Stop()
	op.mu.Lock()
	defer op.mu.Unlock()
	for {
		if i := strings.Index(op.shown.String(), text); i >= 0 {
			op.shown.Next(i + len(text))
			return
		}
		if op.gone {
			op.t.Fatalf("%q was not shown, but:\n%s", text, op.shown.String())
		}
		op.cond.Wait()
	}
}

func (op *operator) press(keys string) {
	op.t.Helper()
	if _, err := op.master.WriteString(keys); err != nil {
		op.t.Fatal(err)
	}
}

type result struct {
	choice fault.Choice
	err    error
}

func menuFor(ctx context.Context, op *operator, change func(*Options)) chan result {
	o := Options{
		Failure:  fault.Failure{Class: "no-lease", Cause: "eth0: nobody answered", Step: "network"},
		Consoles: []io.Writer{op.tty},
		Keys:     op.tty,
		Log:      slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	done := make(chan result, 1)
	go func() {
		c, err := Menu(ctx, o)
		done <- result{c, err}
	}()
	return done
}

// A key, without Enter, and what it leads to. A shell comes of nothing but an
// allowed i or f.
func TestMenuKeys(t *testing.T) {
	tests := []struct {
		keys    string
		allowed bool
		want    fault.Choice
	}{
		{"i", true, fault.Shell}, {"f", true, fault.ShellPID1}, {"r", true, fault.Reboot}, {"x", true, fault.Retry}, {"\r", true, fault.Retry},
		{"i", false, fault.Retry}, {"f", false, fault.Retry}, {"r", false, fault.Reboot}, {"c", false, fault.Retry},
		{"\x03", false, fault.Retry}, {"\x04", false, fault.Retry}, {"\x1a", false, fault.Retry}, {"\x1c", false, fault.Retry}, {"\x00", false, fault.Retry},
		{"\x1b[A", false, fault.Retry}, {"I", true, fault.Retry},
		{"l", true, fault.Retry}, {"n", true, fault.Retry}, {"d", true, fault.Retry}, // nothing to look at is offered
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q allowed %v", tt.keys, tt.allowed), func(t *testing.T) {
			op := sitDown(t)
			done := menuFor(t.Context(), op, func(o *Options) { o.AllowShell = tt.allowed })
			op.wait("boot failed: no-lease")
			op.wait("Keys:")
			if tt.allowed {
				op.wait(" i shell, f shell as PID 1, r reboot, any other: retry")
			} else {
				op.wait(" r reboot, any other: retry")
			}
			op.press(tt.keys)
			if got := <-done; got.err != nil || got.choice != tt.want {
				t.Errorf("got %v, %v, want %v", got.choice, got.err, tt.want)
			}
		})
	}
}

func TestCountdownReboots(t *testing.T) {
	op := sitDown(t)
	var log bytes.Buffer // a console that is no terminal
	done := menuFor(t.Context(), op, func(o *Options) {
		o.Timeout = 1100 * time.Millisecond
		o.Consoles = append(o.Consoles, &log)
	})
	op.wait("Reboot in 2 s")
	op.wait("Reboot in 1 s")
	op.wait("rebooting")
	if got := <-done; got.err != nil || got.choice != fault.GiveUp {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
	for _, want := range []string{"boot failed: no-lease", "Reboot in 2 s; a key stops the countdown.\n", "No key was pressed"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the other console lacks %q:\n%s", want, log.String())
		}
	}
}

// The kernel log comes in pages, its end first; afterwards the menu is back and
// the first countdown no longer runs.
func TestKernelLog(t *testing.T) {
	op := sitDown(t)
	done := menuFor(t.Context(), op, func(o *Options) {
		o.Timeout = time.Minute
		o.KernelLog = func(_ context.Context, w io.Writer) error {
			for i := range 50 {
				fmt.Fprintf(w, "kernel line %d\n", i+1)
			}
			return nil
		}
	})
	op.wait("d kernel log")
	op.wait("Reboot in 60 s")
	op.press("d")
	op.wait("kernel line 28\r\n")
	op.wait("kernel line 50\r\nlines 28-50 of 50")
	op.press("g")
	op.wait("kernel line 1\r\n")
	op.wait("lines 1-23 of 50")
	op.press(" ")
	op.wait("lines 24-46 of 50")
	op.press("b")
	op.wait("lines 1-23 of 50")
	op.press("q")
	op.wait("boot failed: no-lease")
	op.wait("Reboot in 600 s")
	op.press("r")
	if got := <-done; got.err != nil || got.choice != fault.Reboot {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// What is offered is named, and does what it says.
func TestMenuContinues(t *testing.T) {
	op := sitDown(t)
	done := menuFor(t.Context(), op, func(o *Options) { o.Failure.Next, o.Again = "image", "the shell again" })
	op.wait("Keys: c continue with image, r reboot, any other: the shell again")
	op.press("c")
	if got := <-done; got.err != nil || got.choice != fault.Continue {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// The agent's log is paged like the kernel's; the network is shown as it
// changes.
func TestLogAndNetwork(t *testing.T) {
	op := sitDown(t)
	var mu sync.Mutex
	table := []string{"eth0 no carrier"}
	done := menuFor(t.Context(), op, func(o *Options) {
		o.AgentLog = func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "what the agent said\n")
			return err
		}
		o.Failure.Network = func(int) []string {
			mu.Lock()
			defer mu.Unlock()
			return table
		}
	})
	op.wait("l agent log, n network")
	op.press("l")
	op.wait("what the agent said")
	op.press("q")
	op.wait("Keys:")
	op.press("n")
	op.wait("eth0 no carrier")
	mu.Lock()
	table = []string{"eth0 10.0.2.15/24"}
	mu.Unlock()
	op.wait("eth0 10.0.2.15/24")
	op.press("q")
	op.wait("Keys:")
	op.press("r")
	if got := <-done; got.err != nil || got.choice != fault.Reboot {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// A terminal that says where its cursor is gets colours, one that is silent
// none.
func TestColorsForWhoAnswers(t *testing.T) {
	for answer, want := range map[string]string{"\x1b[24;80R": "\x1b[1;31m=== boot failed: no-lease", "": "\n=== boot failed: no-lease"} {
		op := sitDown(t)
		met := make(chan struct{})
		go func() { op.tty.Identify(t.Context()); close(met) }()
		op.wait("\x1b[6n")
		if answer != "" {
			op.press(answer)
		}
		<-met
		if _, err := op.tty.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		done := menuFor(t.Context(), op, nil)
		op.wait(want)
		op.press("r")
		if got := <-done; got.err != nil || got.choice != fault.Reboot {
			t.Errorf("got %v, %v", got.choice, got.err)
		}
	}
}

// A terminal that answers late has not pressed a key; an arrow key is one.
func TestLateAnswerIsNoKey(t *testing.T) {
	op := sitDown(t)
	op.tty.Identify(t.Context())
	done := menuFor(t.Context(), op, func(o *Options) { o.Timeout = time.Minute })
	op.wait("Reboot in 60 s")
	op.press("\x1b[24;80R")
	op.wait("Reboot in 58 s") // the countdown goes on
	op.press("\x1b[A")
	if got := <-done; got.err != nil || got.choice != fault.Retry {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// Where the keys are, the other consoles say.
func TestOtherConsolesSayWhereTheKeysAre(t *testing.T) {
	op, other := sitDown(t), sitDown(t)
	done := menuFor(t.Context(), op, func(o *Options) { o.Consoles = append(o.Consoles, other.tty) })
	op.wait("\nKeys: r reboot")
	other.wait("\nKeys on " + strings.TrimPrefix(op.tty.Name(), "/dev/") + ": r reboot")
	op.press("r")
	if got := <-done; got.err != nil || got.choice != fault.Reboot {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// deadKeys is a console whose reads fail at once, and which counts them.
type deadKeys struct {
	io.Writer
	err   error
	reads int
}

func (d *deadKeys) ReadKey(context.Context) (byte, error) {
	d.reads++
	return 0, d.err
}

// A console that can't be read leads neither to a shell nor to a busy loop.
func TestUnreadableConsoleWaitsForTheCountdown(t *testing.T) {
	for _, err := range []error{io.EOF, errors.New("input/output error")} {
		op := sitDown(t)
		keys := &deadKeys{Writer: io.Discard, err: err}
		done := menuFor(t.Context(), op, func(o *Options) {
			o.AllowShell = true
			o.Keys = keys
			o.Timeout = 1100 * time.Millisecond
		})
		if got := <-done; got.err != nil || got.choice != fault.GiveUp {
			t.Errorf("%v: got %v, %v", err, got.choice, got.err)
		}
		if keys.reads > 3 {
			t.Errorf("%v: %d reads in a second", err, keys.reads)
		}
	}
}

func TestTerminalThatHangsUp(t *testing.T) {
	op := sitDown(t)
	done := menuFor(t.Context(), op, func(o *Options) { o.AllowShell = true; o.Timeout = 1100 * time.Millisecond })
	op.wait("Keys:")
	_ = op.master.Close()
	if got := <-done; got.err != nil || got.choice != fault.GiveUp {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

func TestNobodyCanType(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	op := sitDown(t)
	done := menuFor(ctx, op, func(o *Options) { o.Keys = nil })
	op.wait("Keys:")
	cancel()
	if got := <-done; !errors.Is(got.err, context.Canceled) || got.choice != fault.Reboot {
		t.Errorf("got %v, %v", got.choice, got.err)
	}
}

// Who is logged in elsewhere stops the countdown; it begins anew when they
// leave.
func TestHold(t *testing.T) {
	op := sitDown(t)
	var held atomic.Bool
	held.Store(true)
	done := menuFor(t.Context(), op, func(o *Options) { o.Timeout, o.Hold = time.Second, held.Load })
	op.wait("Somebody is logged in")
	time.Sleep(1200 * time.Millisecond) // longer than the countdown
	select {
	case r := <-done:
		t.Fatalf("the menu ended: %+v", r)
	default:
	}
	held.Store(false)
	op.wait("No key was pressed: rebooting.")
	if r := <-done; r.choice != fault.GiveUp {
		t.Errorf("%+v", r)
	}
}
