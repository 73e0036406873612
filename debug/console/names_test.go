package console

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const procConsoles = `tty0                 -WU (EC p  )    4:1
ttyS0                RW- (E  p a)    4:64
netcon0              -W- (E  p  )
junk
../etc/passwd        -W- (E  p  )    1:1
`

func TestList(t *testing.T) {
	want := []Name{
		{Name: "tty0", Writable: true, Enabled: true, Preferred: true, Major: 4, Minor: 1},
		{Name: "ttyS0", Readable: true, Writable: true, Enabled: true, Major: 4, Minor: 64},
		{Name: "netcon0", Writable: true, Enabled: true},
	}
	got := List(strings.NewReader(procConsoles))
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got[1].Path() != "/dev/ttyS0" {
		t.Errorf("path %s", got[1].Path())
	}
}

func TestInteractive(t *testing.T) {
	names := List(strings.NewReader(procConsoles))
	for _, tt := range []struct {
		names []Name
		want  string
		name  string
		ok    bool
	}{
		{names, "ttyS0,115200n8", "ttyS0", true},
		{names, "/dev/ttyS0", "ttyS0", true},
		{names, "hvc0", "tty0", true},
		{names, "", "tty0", true},
		{names[1:], "", "netcon0", true},
		{nil, "hvc0,9600", "hvc0", true},
		{nil, "../mem", "", false},
		{nil, "", "", false},
	} {
		got, ok := Interactive(tt.names, tt.want)
		if got.Name != tt.name || ok != tt.ok {
			t.Errorf("console=%s: %q %v, want %q %v", tt.want, got.Name, ok, tt.name, tt.ok)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add(procConsoles)
	f.Add("ttyS0 -W- (EC  p a)    4:64")
	f.Add("a b ()) (")
	f.Fuzz(func(t *testing.T, s string) {
		for _, n := range List(strings.NewReader(s)) {
			if !validName(n.Name) || n.Major < 0 || n.Minor < 0 {
				t.Errorf("%q: %+v", s, n)
			}
		}
	})
}
