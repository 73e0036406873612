// Package kmsg writes the agent's lines to the kernel log, decides which of
// them the console still needs, and follows the log for a reader.
package kmsg

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Path is where the kernel log is written and read.
const Path = "/dev/kmsg"

// Priorities of syslog(2) that the agent uses.
const (
	PrioAlert   = 1
	PrioErr     = 3
	PrioWarning = 4
	PrioInfo    = 6
	PrioDebug   = 7
)

// lineMax is the longest write that every kernel accepts: LOG_LINE_MAX of
// kernel/printk/printk.c, 1024 less the room for a prefix. A longer one is
// refused with EINVAL.
const lineMax = 976

// Writer sends lines to the kernel log, one write(2) a line. It may be used by
// several goroutines.
type Writer struct {
	// Tag begins every line, for example "stage-1-init: ". Set before use.
	Tag string

	mu   sync.Mutex
	w    io.Writer
	path string // to be opened again; empty: it is not
	left int    // records until then
}

// burst is how many records an opening may surely take: the kernel drops what
// comes beyond ten in five seconds where printk.devkmsg= says "ratelimit", and
// counts for each opening anew (kernel/printk/printk.c, devkmsg_open).
const burst = 10

// Open opens the kernel log, /dev/kmsg when path is empty, for writing.
func Open(path string) (*Writer, error) {
	if path == "" {
		path = Path
	}
	d, err := openDevice(path)
	if err != nil {
		return nil, err
	}
	w := New(d)
	w.path, w.left = path, burst
	return w, nil
}

func openDevice(path string) (device, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("kernel log: open %s: %w", path, err)
	}
	return device(fd), nil
}

// renew opens the log again where this opening may have had its share. Where
// that fails the old one has to do.
func (w *Writer) renew() {
	if w.path == "" {
		return
	}
	if w.left > 0 {
		w.left--
		return
	}
	d, err := openDevice(w.path)
	if err != nil {
		return
	}
	_ = w.Close()
	w.w, w.left = d, burst-1
}

// A device is a descriptor that is written to at once or not at all: an os.File
// would wait for it.
type device int

func (d device) Write(p []byte) (int, error) { return unix.Write(int(d), p) }

func (d device) Close() error { return unix.Close(int(d)) }

// New returns a Writer that writes its records to w.
func New(w io.Writer) *Writer { return &Writer{w: w} }

// Close closes what Open opened.
func (w *Writer) Close() error {
	if c, ok := w.w.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Write logs p, line by line, at PrioInfo. It never reports a short write.
func (w *Writer) Write(p []byte) (int, error) {
	return len(p), w.Log(PrioInfo, string(p))
}

// Log writes text with a syslog priority. Every line of it becomes one record,
// or several when it is too long for the kernel; empty lines are left out. A
// log that is full for the moment, or a reader that was overrun, is no error.
func (w *Writer) Log(prio int, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs error
	prefix := "<" + strconv.Itoa(prio&7) + ">" + w.Tag
	for line := range strings.Lines(text) {
		line = Clean(strings.TrimRight(line, "\r\n"))
		for line != "" {
			var part string
			part, line = cut(line, lineMax-len(prefix)-len("\n"))
			if err := w.record(prefix + part + "\n"); err != nil {
				errs = err
			}
		}
	}
	return errs
}

func (w *Writer) record(s string) error {
	w.renew()
	for try := 0; ; try++ {
		_, err := io.WriteString(w.w, s)
		switch {
		case err == nil, errors.Is(err, unix.EPIPE):
			return nil
		case errors.Is(err, unix.EAGAIN):
			if try == 3 {
				return nil // a lost line is better than a stuck boot
			}
			time.Sleep(time.Millisecond << try)
		default:
			return fmt.Errorf("kernel log: %w", err)
		}
	}
}

// Clean makes one line fit for a log: control characters and terminal
// sequences go, a tab becomes a space, bytes that are no UTF-8 become '?'.
func Clean(line string) string {
	plain := true
	for i := 0; i < len(line); i++ {
		if c := line[i]; c < ' ' || c > '~' {
			plain = false
			break
		}
	}
	if plain {
		return line
	}
	var b strings.Builder
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRuneInString(line[i:])
		switch {
		case r == '\x1b':
			n = escapeLen(line[i:])
		case r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r >= 0x7f && r < 0xa0:
		case r == utf8.RuneError && n <= 1:
			b.WriteByte('?')
		default:
			b.WriteString(line[i : i+n])
		}
		i += n
	}
	return b.String()
}

// escapeLen returns the length of the terminal sequence that s begins with:
// ESC [ parameters final (ECMA-48, 5.4), or a lone ESC.
func escapeLen(s string) int {
	if len(s) < 2 || s[1] != '[' {
		return 1
	}
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1
		case c < 0x20 || c > 0x7e:
			return i
		}
	}
	return len(s)
}

// cut splits s after at most max bytes, between runes.
func cut(s string, max int) (head, tail string) {
	if max < utf8.UTFMax {
		max = utf8.UTFMax // a tag longer than a record: still make progress
	}
	if len(s) <= max {
		return s, ""
	}
	i := max
	for i > max-utf8.UTFMax && !utf8.RuneStart(s[i]) {
		i--
	}
	return s[:i], s[i:]
}
