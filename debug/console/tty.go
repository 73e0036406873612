package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"netstage/debug/internal/waitfd"
)

// TTY is an open console. Its writes wait for nothing, so that nobody who wants
// to reboot the machine hangs on a terminal server; see Writer.
//
// A shell in a session of its own leaves the device hung up behind it
// (drivers/tty/tty_io.c, __tty_hangup); a TTY then opens it again.
type TTY struct {
	f  *os.File
	fd int // never changes: a new opening is put in its place
	w  *Writer

	modes sync.Mutex
	raw   bool

	color      bool // see Identify
	unanswered bool // an answer to its question
}

// Open opens a console device without making it the controlling terminal.
func Open(path string) (*TTY, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("console: open %s: %w", path, err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFCHR {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("console: %s is no terminal", path) // console=sda
	}
	t := &TTY{f: os.NewFile(uintptr(fd), path), fd: fd}
	t.w = newWriter(t.write)
	return t, nil
}

// Close closes the device. What it has not taken by then is lost.
func (t *TTY) Close() error {
	t.w.Flush()
	t.w.stop()
	return t.f.Close()
}

// Name is the device's path.
func (t *TTY) Name() string { return t.f.Name() }

// IsTerminal says whether the device is a terminal that can be redrawn.
func (t *TTY) IsTerminal() bool { return isTerminal(t.fd) }

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// Write writes p as far as the device takes it, now or later.
func (t *TTY) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("%s: %w", t.Name(), err)
	}
	return n, nil
}

// write is write(2), on a device that was hung up once more.
func (t *TTY) write(p []byte) (int, error) {
	n, err := unix.Write(t.fd, p)
	if errors.Is(err, unix.EIO) && t.reopen() == nil {
		n, err = unix.Write(t.fd, p)
	}
	return n, err
}

// ReadKey waits for one byte: a key, or the first byte of one, without Enter
// when the terminal is raw. It returns ctx.Err() when the context ends first,
// and io.EOF when the device is gone.
func (t *TTY) ReadKey(ctx context.Context) (byte, error) {
	for {
		b, err := t.readKey(ctx)
		if errors.Is(err, io.EOF) && t.reopen() == nil {
			b, err = t.readKey(ctx)
		}
		if err != nil || b != '\x1b' || !t.lateAnswer(ctx) {
			return b, err
		}
	}
}

// reopen opens a device that was hung up, under the same descriptor and in the
// same mode.
func (t *TTY) reopen() error {
	t.modes.Lock()
	defer t.modes.Unlock()
	fd, err := unix.Open(t.Name(), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("console: reopen %s: %w", t.Name(), err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Dup3(fd, t.fd, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("console: reopen %s: %w", t.Name(), err)
	}
	if t.raw {
		_, err = t.makeRaw()
	}
	return err
}

func (t *TTY) readKey(ctx context.Context) (byte, error) {
	for {
		var b [1]byte
		n, err := unix.Read(t.fd, b[:])
		switch {
		case n == 1:
			return b[0], nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
		case err == nil, errors.Is(err, unix.EIO):
			return 0, io.EOF
		default:
			return 0, fmt.Errorf("console: read %s: %w", t.Name(), err)
		}
		if err := waitfd.Readable(ctx, t.fd); err != nil {
			if errors.Is(err, waitfd.ErrHangup) {
				return 0, io.EOF
			}
			return 0, err
		}
	}
}

// Drain forgets keys that were typed and not read, such as the rest of an
// arrow key.
func (t *TTY) Drain() {
	if err := unix.IoctlSetInt(t.fd, unix.TCFLSH, unix.TCIFLUSH); err == nil {
		return
	}
	var b [64]byte
	for range 1024 { // a pipe's worth
		if n, err := unix.Read(t.fd, b[:]); n <= 0 || err != nil {
			return
		}
	}
}

// Raw makes keys come at once and unseen; Ctrl-C and its kin become plain
// keys. Output stays cooked. The function it returns restores what was. On
// something that is no terminal both do nothing.
func (t *TTY) Raw() (restore func() error, err error) {
	t.modes.Lock()
	defer t.modes.Unlock()
	old, err := t.makeRaw()
	if err != nil {
		return nil, err
	}
	if old == nil {
		return func() error { return nil }, nil
	}
	t.raw = true
	return func() error {
		t.modes.Lock()
		defer t.modes.Unlock()
		t.raw = false
		if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, old); err != nil {
			return fmt.Errorf("console: restore %s: %w", t.Name(), err)
		}
		return nil
	}, nil
}

// makeRaw sets raw mode and returns the mode that was; nil on no terminal.
func (t *TTY) makeRaw() (*unix.Termios, error) {
	old, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return nil, nil
	}
	raw := *old
	raw.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INLCR | unix.IGNCR | unix.ISTRIP
	raw.Iflag |= unix.IGNBRK
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("console: raw mode of %s: %w", t.Name(), err)
	}
	return old, nil
}

// Size is the terminal's width and height in characters, 80 by 24 when it
// doesn't know, as a serial line.
func (t *TTY) Size() (width, height int) { return Size(t.fd) }

// Size is the window size of a terminal by its descriptor, 80 by 24 when it is
// none or doesn't know.
func Size(fd int) (width, height int) {
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col < 20 || ws.Row < 4 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}
