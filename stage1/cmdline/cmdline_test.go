package cmdline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func flag(key string) Param         { return Param{Key: key} }
func value(key, value string) Param { return Param{Key: key, Value: value, HasValue: true} }

func TestParse(t *testing.T) {
	for line, want := range map[string]Params{
		"":                         nil,
		" \t\n":                    nil,
		"quiet":                    {flag("quiet")},
		"rootfs=http://a/b?c=d&e=": {value("rootfs", "http://a/b?c=d&e=")},
		"init=":                    {value("init", "")},
		"a=1 b a=2\n":              {value("a", "1"), flag("b"), value("a", "2")},
		`dyndbg="file a +p" x`:     {value("dyndbg", "file a +p"), flag("x")},
		`"opt=with space" y`:       {value("opt", "with space"), flag("y")},
		`"two words"`:              {flag("two words")},
		`a="`:                      {value("a", "")},
		`a="open to the end`:       {value("a", "open to the end")},
		`"`:                        {flag("")},
		`a=b"c d"e f`:              {value("a", `b"c d"e`), flag("f")},
		`=x`:                       {flag("=x")},
		"tab\tseparated\va":        {flag("tab"), flag("separated"), flag("a")},
	} {
		if diff := cmp.Diff(want, Parse(line)); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", line, diff)
		}
	}
}

func TestLookups(t *testing.T) {
	ps := Parse("console=tty0 console=ttyS0,115200 debug1 boot.trace=1 rootfs=a rootfs=b console")
	if v, ok := ps.Last("console"); !ok || v != "ttyS0,115200" {
		t.Errorf("Last(console) = %q, %v", v, ok)
	}
	if _, ok := ps.Last("init"); ok {
		t.Error("Last finds what is not there")
	}
	if diff := cmp.Diff([]string{"a", "b"}, ps.All("rootfs")); diff != "" {
		t.Error(diff)
	}
	if !ps.Has("boot.debug1", "debug1") || ps.Has("boot.trace") {
		t.Error("Has must find flags and only flags")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`a="b c" d`, `"a=b"`, `a="`, "x=\x00", "a==b", "\xa0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		total := 0
		for _, p := range Parse(line) {
			total += len(p.Key) + len(p.Value)
			if !p.HasValue && p.Value != "" {
				t.Errorf("a flag with a value: %+v", p)
			}
		}
		if total > len(line) {
			t.Errorf("%d bytes out of %d", total, len(line))
		}
		// Without quotes the words are those of a plain split.
		if !strings.Contains(line, `"`) && !strings.Contains(line, "\xa0") && isASCII(line) {
			if got, want := len(Parse(line)), len(strings.Fields(line)); got != want {
				t.Errorf("%d words, want %d", got, want)
			}
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
