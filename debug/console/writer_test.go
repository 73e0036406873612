package console

import (
	"bytes"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// valve is a device that can be stopped.
type valve struct {
	stopped atomic.Bool
	gone    atomic.Bool
	bytes.Buffer
}

func (v *valve) write(p []byte) (int, error) {
	switch {
	case v.gone.Load():
		return 0, unix.EIO
	case v.stopped.Load():
		return -1, unix.EAGAIN
	}
	return v.Buffer.Write(p[:min(len(p), 1000)])
}

func TestWriterKeepsAndDrops(t *testing.T) {
	v := &valve{}
	w := newWriter(v.write)
	w.Write([]byte("first\n"))
	v.stopped.Store(true)
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 1000 { // 100 kB
		if n, err := w.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	began := time.Now()
	w.Flush()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a device that takes nothing held up a flush for %v", took)
	}
	if !w.Stuck() {
		t.Error("not stuck")
	}
	v.stopped.Store(false)
	for w.Stuck() {
		time.Sleep(time.Millisecond)
	}
	w.Flush()
	w.Write([]byte("last\n"))
	text := v.String()
	for _, want := range []string{"first\nxxx", "\n-- 34464 bytes lost: this console took nothing --\n", "--\nlast\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(text, "x"); n != room-room/100 {
		t.Errorf("%d x", n)
	}
	v.gone.Store(true)
	if _, err := w.Write([]byte("to nobody")); err == nil {
		t.Error("a device that is gone is no error")
	}
}

// What console= names may be a disk: it is not written to.
func TestOpenTakesNoDisk(t *testing.T) {
	file := t.TempDir() + "/sda"
	if err := os.WriteFile(file, []byte("superblock"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tty, err := Open(file); err == nil {
		tty.Write([]byte("=== boot failed"))
		t.Error("a file was taken for a terminal")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "superblock" {
		t.Errorf("left %q %v", text, err)
	}
}

// Neither C0 nor C1 controls, by which a server could move the cursor, reach
// the status.
func TestStatusHasNoControls(t *testing.T) {
	if got := fit("a\x1b[2Jb\u009b31mc\x7fd\u00e9", 80); got != "a[2Jb31mcdé" {
		t.Errorf("%q", got)
	}
}

// A terminal whose reader has stopped, or that was sent an XOFF, holds up
// nobody; calming it sets it going again, and leaves it as it was in the end.
func TestWriterOnAStoppedTerminal(t *testing.T) {
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	fd := int(theirs.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if before.Iflag&unix.IXON == 0 {
		t.Fatal("a new terminal heeds no XOFF")
	}
	ours.Write([]byte{0x13})
	time.Sleep(50 * time.Millisecond)
	w := NewWriter(fd)
	w.Write([]byte("hello\n"))
	w.Flush()
	if !w.Stuck() {
		t.Fatal("XOFF did not stop it")
	}
	stopped := StopFlowControl(theirs.Name())
	ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	var text string
	shows := func(want string) {
		t.Helper()
		for part := make([]byte, 100); !strings.Contains(text, want); {
			n, err := ours.Read(part)
			if text += string(part[:n]); err != nil {
				t.Fatalf("no %q in %q: %v", want, text, err)
			}
		}
	}
	shows("hello")
	ours.Write([]byte{0x13}) // noise
	time.Sleep(50 * time.Millisecond)
	w.Write([]byte("again\n"))
	shows("again")
	stopped.Restore()
	after, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil || after.Iflag != before.Iflag || after.Cflag != before.Cflag {
		t.Errorf("left as %+v, was %+v: %v", after, before, err)
	}
	if stopped := StopFlowControl(os.DevNull); stopped != (FlowControl{}) {
		t.Errorf("stopped %+v", stopped)
	}
}
