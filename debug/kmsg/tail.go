package kmsg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"netstage/debug/internal/waitfd"
)

// TailOptions says what to show of the kernel log.
type TailOptions struct {
	// Path is the log; default /dev/kmsg.
	Path string
	// Follow waits for more when all was shown, until the context ends.
	Follow bool
	// New leaves out what is already in the log.
	New bool
	// Color paints lines by priority.
	Color bool
	// Names shows the priorities by name.
	Names bool
	// Level leaves out priorities above it; 0 shows all.
	Level int
	// Only, if any, says which records are shown.
	Only func(Record) bool
	// Raw writes the records as the kernel gives them.
	Raw bool
}

// recordMax is more than the kernel's longest record (CONSOLE_EXT_LOG_MAX);
// a shorter read fails with EINVAL.
const recordMax = 16 << 10

// Tail writes the kernel log to w, oldest record first. When the reader was
// overrun it says how much was lost and goes on. The end of the context is the
// normal end of following and no error.
func Tail(ctx context.Context, w io.Writer, o TailOptions) error {
	if o.Path == "" {
		o.Path = Path
	}
	fd, err := unix.Open(o.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("kernel log: open %s: %w", o.Path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if o.New {
		if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
			return fmt.Errorf("kernel log: seek %s: %w", o.Path, err)
		}
	}
	t := tail{TailOptions: o, w: w}
	buf := make([]byte, recordMax)
	for ctx.Err() == nil {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if !o.Follow {
				return nil
			}
			err := waitfd.Readable(ctx, fd)
			if errors.Is(err, waitfd.ErrHangup) || ctx.Err() != nil {
				return t.flush()
			}
			if err != nil {
				return fmt.Errorf("kernel log: %w", err)
			}
			continue
		case errors.Is(err, unix.EPIPE): // overrun; the next record tells by how much
			t.lost = true
			continue
		case err != nil:
			return fmt.Errorf("kernel log: read %s: %w", o.Path, err)
		case n <= 0:
			return t.flush()
		}
		if err := t.feed(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// tail turns what was read into lines.
type tail struct {
	TailOptions
	w    io.Writer
	rest []byte // a line without its end: a pipe or file, never /dev/kmsg
	lost bool   // the kernel reported an overrun
	next uint64 // the sequence number to expect, 0 before the first record
}

// feed splits p into records, a line and the lines after it that begin with a
// space, and shows them.
func (t *tail) feed(p []byte) error {
	t.rest = append(t.rest, p...)
	for {
		end := recordEnd(t.rest)
		if end == 0 {
			return nil
		}
		if err := t.show(t.rest[:end]); err != nil {
			return err
		}
		t.rest = t.rest[end:]
	}
}

func (t *tail) flush() error {
	if len(t.rest) == 0 {
		return nil
	}
	err := t.show(t.rest)
	t.rest = nil
	return err
}

func recordEnd(p []byte) int {
	end := 0
	for end == 0 || end < len(p) && p[end] == ' ' {
		i := bytes.IndexByte(p[end:], '\n')
		if i < 0 {
			break
		}
		end += i + 1
	}
	return end
}

func (t *tail) show(record []byte) error {
	r, err := Parse(record)
	if err != nil {
		_, err = fmt.Fprintf(t.w, "%s\n", Clean(string(bytes.TrimSpace(record))))
		return err
	}
	if t.lost || t.next != 0 && r.Seq > t.next {
		t.lost = false
		gap := "some"
		if t.next != 0 && r.Seq > t.next {
			gap = fmt.Sprint(r.Seq - t.next)
		}
		if _, err := fmt.Fprintf(t.w, "-- %s lines lost: the kernel logs faster than they are read --\n", gap); err != nil {
			return err
		}
	}
	t.next = r.Seq + 1
	if t.Level != 0 && r.Priority > t.Level || t.Only != nil && !t.Only(r) {
		return nil
	}
	if t.Raw {
		_, err = t.w.Write(record)
		return err
	}
	_, err = io.WriteString(t.w, r.Format(t.Color, t.Names))
	return err
}
