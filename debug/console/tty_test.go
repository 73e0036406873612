package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal returns a console and the operator's end of it.
func terminal(t *testing.T) (*TTY, *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	tty, err := Open(slave.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close(); _ = slave.Close(); _ = master.Close() })
	return tty, master
}

func TestKeysWithoutEnter(t *testing.T) {
	tty, master := terminal(t)
	before, err := unix.IoctlGetTermios(tty.fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	restore, err := tty.Raw()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []byte("r\x03\x1a\x1c\r") {
		if _, err := master.Write([]byte{key}); err != nil {
			t.Fatal(err)
		}
		got, err := tty.ReadKey(t.Context())
		if err != nil || got != key {
			t.Errorf("typed %q, read %q, %v", key, got, err)
		}
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	after, err := unix.IoctlGetTermios(tty.fd, unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("modes not restored: %+v, want %+v (%v)", after, before, err)
	}
}

func TestReadKeyEndsWithItsContext(t *testing.T) {
	tty, _ := terminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := tty.ReadKey(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestReadKeyOfAGoneTerminal(t *testing.T) {
	tty, master := terminal(t)
	_ = master.Close()
	if _, err := tty.ReadKey(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
}

func TestDrain(t *testing.T) {
	tty, master := terminal(t)
	if _, err := tty.Raw(); err != nil {
		t.Fatal(err)
	}
	if _, err := master.WriteString("\x1b[A"); err != nil {
		t.Fatal(err)
	}
	if b, err := tty.ReadKey(t.Context()); err != nil || b != 0x1b {
		t.Fatalf("read %q, %v", b, err)
	}
	tty.Drain()
	if _, err := master.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if b, err := tty.ReadKey(t.Context()); err != nil || b != 'x' {
		t.Errorf("after an arrow key: read %q, %v", b, err)
	}
}

func TestStuckTerminalHoldsUpNobody(t *testing.T) {
	tty, _ := terminal(t)
	big := bytes.Repeat([]byte("x"), 1<<20) // nobody reads the other end
	for range 2 {
		if n, err := tty.Write(big); err != nil || n != len(big) {
			t.Fatalf("wrote %d bytes to a stuck terminal, %v", n, err)
		}
	}
	tty.w.Flush()
	if !tty.w.Stuck() {
		t.Error("it takes all")
	}
}

func TestSize(t *testing.T) {
	tty, master := terminal(t)
	if w, h := tty.Size(); w != 80 || h != 24 {
		t.Errorf("unknown size: %dx%d", w, h)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 132, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	if w, h := tty.Size(); w != 132 || h != 50 {
		t.Errorf("got %dx%d, want 132x50", w, h)
	}
	if !tty.IsTerminal() {
		t.Error("a pty is a terminal")
	}
}

// The end of a shell's session hangs the terminal up for everybody else. Here
// TIOCVHANGUP does, for the kernel spares ptys the other way.
func TestGoesOnAfterAHangUp(t *testing.T) {
	tty, master := terminal(t)
	for _, first := range []string{"write", "read"} {
		if _, err := tty.Raw(); err != nil {
			t.Fatal(err)
		}
		hung, err := unix.Open(tty.Name(), unix.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlSetInt(hung, unix.TIOCVHANGUP, 0)
		_ = unix.Close(hung)
		if err != nil {
			t.Skipf("TIOCVHANGUP: %v", err)
		}
		if first == "write" {
			if _, err := tty.Write([]byte("again")); err != nil {
				t.Errorf("write: %v", err)
			}
		} else {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if _, err := tty.ReadKey(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("read: %v, want a wait", err)
			}
		}
		if _, err := master.WriteString("r"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if key, err := tty.ReadKey(ctx); err != nil || key != 'r' { // without Enter: raw still
			t.Errorf("read %q, %v", key, err)
		}
	}
}

// A serial line doesn't know the size of the terminal at its end: the terminal
// is asked, and one that is silent, or talks nonsense, changes nothing.
func TestMeetLearnsTheSize(t *testing.T) {
	for answer, want := range map[string][2]int{"\x1b[43;132R": {132, 43}, "": {80, 24}, "\x1b[2;3R": {80, 24}, "xR": {80, 24}, "\x1b[99999;99999R": {80, 24}} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		tty, err := Open(slave.Name())
		if err != nil {
			t.Fatal(err)
		}
		met := make(chan struct{})
		go func() { tty.Identify(t.Context()); close(met) }()
		asked := make([]byte, 64)
		n, err := master.Read(asked)
		if err != nil || !strings.Contains(string(asked[:n]), "\x1b[999;999H\x1b[6n") {
			t.Errorf("asked %q, %v", asked[:n], err)
		}
		if _, err := master.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		<-met
		if width, height := tty.Size(); width != want[0] || height != want[1] {
			t.Errorf("%q: %d by %d", answer, width, height)
		}
		_, _, _ = tty.Close(), slave.Close(), master.Close()
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("\x1b[24;80R")
	f.Fuzz(func(t *testing.T, answer string) {
		if rows, columns, ok := parsePosition(answer); ok && (rows < 4 || columns < 20 || rows > 999 || columns > 999) {
			t.Errorf("%q: %d by %d", answer, columns, rows)
		}
	})
}
