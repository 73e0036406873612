package kmsg

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte("30,339,5140900,-,caller=T1;NET: fam\\x0aily \\xc3\\xa9 \\xzz\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.2\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Record{
		Priority: 6, Facility: 3, Seq: 339, Time: 5140900 * time.Microsecond, Flags: "-",
		Text: "NET: fam\nily é \\xzz", Keys: []string{"SUBSYSTEM=pci", "DEVICE=+pci:0000:00:1f.2"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "x", "6,1,2;text", "a,1,2,-;t", "6,b,2,-;t", "6,1,c,-;t", "-6,1,2,-;t", "6,1,99999999999999999999,-;t"} {
		if r, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q: accepted as %+v", bad, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET: Registered\n SUBSYSTEM=pci\n"))
	f.Add([]byte(`4,0,0,c,x;a\x0ab\x1b[31m`))
	f.Add([]byte("6,1,9007199254740991,-;\n \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if r.Priority < 0 || r.Priority > 7 || r.Time < 0 {
			t.Errorf("%q: %+v", b, r)
		}
		for line := range strings.Lines(r.Format(false, false)) {
			if !strings.HasPrefix(line, "[") || strings.ContainsRune(line, 0x1b) {
				t.Errorf("%q: line %q", b, line)
			}
		}
	})
}

const sampleLog = "6,1,1000000,-;one\n SUBSYSTEM=pci\n3,2,2000000,-;two\\x0amore\n7,5,3000000,-;five\n"

func TestTailOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(sampleLog), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		o    TailOptions
		want string
	}{
		"plain": {TailOptions{}, "[    1.000000] one\n[    2.000000] two\n[    2.000000] more\n" +
			"-- 2 lines lost: the kernel logs faster than they are read --\n[    3.000000] five\n"},
		"colour, errors only": {TailOptions{Color: true, Level: 3}, "[    2.000000] \x1b[31mtwo\x1b[0m\n[    2.000000] \x1b[31mmore\x1b[0m\n" +
			"-- 2 lines lost: the kernel logs faster than they are read --\n"},
		"raw":            {TailOptions{Raw: true, Level: 6}, "6,1,1000000,-;one\n SUBSYSTEM=pci\n3,2,2000000,-;two\\x0amore\n-- 2 lines lost: the kernel logs faster than they are read --\n"},
		"only new lines": {TailOptions{New: true}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.Path = path
			var got bytes.Buffer
			if err := Tail(t.Context(), &got, tt.o); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTailFollowsUntilTheContextEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	feed, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Tail(ctx, w, TailOptions{Path: path, Follow: true})
		_ = w.Close()
		done <- err
	}()
	lines := bufio.NewScanner(r)
	for _, s := range []string{"6,1,0,-;first\n", "6,2,0,-;sec", "ond\n"} {
		if _, err := feed.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"[    0.000000] first", "[    0.000000] second"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("end of the context: %v", err)
	}
}

// The real log, read only.
func TestTailOfTheKernel(t *testing.T) {
	if err := unix.Access(Path, unix.R_OK); err != nil {
		t.Skipf("the kernel log is not readable here: %v", err)
	}
	var got bytes.Buffer
	if err := Tail(t.Context(), &got, TailOptions{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got.String()) {
		if !strings.HasPrefix(line, "[") && !strings.HasPrefix(line, "-- ") {
			t.Fatalf("not a stamped line: %q", line)
		}
	}
}

func TestRing(t *testing.T) {
	r := NewRing(3)
	if got := r.Lines(); len(got) != 0 {
		t.Errorf("a new ring holds %q", got)
	}
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		r.Add(s)
	}
	if d := cmp.Diff([]string{"c", "d", "e"}, r.Lines()); d != "" {
		t.Error(d)
	}
}

// Of a log of many, the last lines of one.
func TestLastOfOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	text := "6,1,1000000,-;eth0: renamed\n14,2,1500000,-;stage-1-init: hello\n7,3,2000000,-;for developers\n4,4,2500000,-;loop: a warning\n SUBSYSTEM=block\n14,5,3000000,-;stage-1-init: done\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		n    int
		only func(Record) bool
		want string
	}{
		{9, FromKernel, "[    1.000000] eth0: renamed|[    2.500000] loop: a warning"},
		{1, FromKernel, "[    2.500000] loop: a warning"},
		{9, func(r Record) bool { return r.Facility == 1 }, "[    1.500000] stage-1-init: hello|[    3.000000] stage-1-init: done"},
		{9, func(Record) bool { return false }, ""},
	} {
		got, err := Last(t.Context(), path, tt.n, tt.only)
		if err != nil || strings.Join(got, "|") != tt.want {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
	}
}
