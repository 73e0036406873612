package kmsg

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// records is a log that keeps each write apart, and may refuse some.
type records struct {
	got    []string
	refuse []error // answers to the next writes
}

func (r *records) Write(p []byte) (int, error) {
	if len(r.refuse) > 0 {
		err := r.refuse[0]
		r.refuse = r.refuse[1:]
		return 0, err
	}
	r.got = append(r.got, string(p))
	return len(p), nil
}

func TestLogLines(t *testing.T) {
	tests := map[string]struct {
		prio int
		text string
		want []string
	}{
		"one line":         {6, "eth0: up", []string{"<6>stage-1-init: eth0: up\n"}},
		"lines":            {4, "a\r\n\nb\n", []string{"<4>stage-1-init: a\n", "<4>stage-1-init: b\n"}},
		"control bytes":    {3, "a\x00\tb\x07\x1b[1;31mc\x1b[0m\x7f", []string{"<3>stage-1-init: a bc\n"}},
		"not UTF-8":        {7, "a\xffé", []string{"<7>stage-1-init: a?é\n"}},
		"nothing":          {6, "", nil},
		"facility cut off": {6 + 8, "x", []string{"<6>stage-1-init: x\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got records
			w := New(&got)
			w.Tag = "stage-1-init: "
			if err := w.Log(tt.prio, tt.text); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got.got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLongLineIsSplitBetweenRunes(t *testing.T) {
	var got records
	w := New(&got)
	w.Tag = "stage-1-init: "
	text := strings.Repeat("0123456é9", 400)
	if err := w.Log(PrioInfo, text); err != nil {
		t.Fatal(err)
	}
	var joined strings.Builder
	for _, r := range got.got {
		if len(r) > lineMax {
			t.Errorf("record of %d bytes", len(r))
		}
		if !utf8.ValidString(r) {
			t.Errorf("a rune was cut: %q", r)
		}
		joined.WriteString(strings.TrimSuffix(strings.TrimPrefix(r, "<6>stage-1-init: "), "\n"))
	}
	if joined.String() != text {
		t.Errorf("pieces don't add up to the line")
	}
	if len(got.got) != 5 {
		t.Errorf("%d records, want 5", len(got.got))
	}
}

func TestBusyLogIsTolerated(t *testing.T) {
	for name, refuse := range map[string][]error{
		"busy twice":  {unix.EAGAIN, unix.EAGAIN},
		"busy always": {unix.EAGAIN, unix.EAGAIN, unix.EAGAIN, unix.EAGAIN},
		"overrun":     {unix.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(&records{refuse: refuse})
			if err := w.Log(PrioInfo, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	if err := New(&records{refuse: []error{unix.EIO}}).Log(PrioInfo, "x"); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v, want an input/output error", err)
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Tag = "t: "
	if _, err := w.Write([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("<6>t: one\n<6>t: two\n", string(got)); d != "" {
		t.Error(d)
	}
}

// No opening of the log is given more than the kernel lets one have.
func TestOpenings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 4 {
		opening := &counted{to: w.w}
		w.w = opening
		for range burst {
			w.Log(PrioInfo, "x")
		}
		if opening.records > burst || w.w != opening {
			t.Errorf("an opening had %d records", opening.records)
		}
		w.Log(PrioInfo, "x")
		if w.w == opening {
			t.Fatal("it was not opened again")
		}
		w.left = burst
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "<6>x\n") != 4*(burst+1) {
		t.Errorf("%v, the log has %q", err, text)
	}
}

type counted struct {
	to      io.Writer
	records int
}

func (c *counted) Write(p []byte) (int, error) { c.records++; return c.to.Write(p) }
func (c *counted) Close() error                { return c.to.(io.Closer).Close() }

func TestUnlimit(t *testing.T) {
	for _, tt := range []struct {
		was, want string
		off       bool
	}{{"ratelimit\n", "on\n", false}, {"on\n", "on\n", false}, {"off\n", "off\n", true}} {
		path := filepath.Join(t.TempDir(), "printk_devkmsg")
		if err := os.WriteFile(path, []byte(tt.was), 0o600); err != nil {
			t.Fatal(err)
		}
		off, err := Unlimit(path)
		if err != nil || off != tt.off {
			t.Errorf("%q: off %v, %v", tt.was, off, err)
		}
		if got, _ := os.ReadFile(path); string(got) != tt.want {
			t.Errorf("%q became %q, want %q", tt.was, got, tt.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31mred\x1b[0m \x1b[ \x1b")
	f.Add("\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: not UTF-8: %q", s, got)
		}
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q: control character in %q", s, got)
			}
		}
	})
}
