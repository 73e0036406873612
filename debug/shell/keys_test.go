package shell

import (
	"strings"
	"testing"
)

func translate(typed string) string {
	var k keys
	var out []byte
	for _, b := range []byte(typed) {
		k.add(b)
		for {
			b, ok := k.next()
			if !ok {
				break
			}
			out = append(out, b)
		}
	}
	return string(out)
}

func TestKeys(t *testing.T) {
	for typed, want := range map[string]string{
		"ls -l\r": "ls -l\r", "\x1b[1~x\x1b[4~": "\x1b[Hx\x1b[F", "\x1b[7~\x1b[8~": "\x1b[H\x1b[F", "\x1bOA\x1bOH": "\x1b[A\x1b[H",
		"\x1b[A\x1b[D": "\x1b[A\x1b[D", "\x1b[3~": "\x1b[3~", "\x1b[1;3C": "\x1b[1;3C", "\x1bx": "\x1bx", "\x1b[24;80R": "\x1b[24;80R",
		"\x1b[200~pasted\x1b[201~": "\x1b[200~pasted\x1b[201~", "\x03": "\x03", "\x1b\x03": "\x03", "\x1b\x1b[A": "\x1b[A", "\x1b[1\r": "\r",
	} {
		if got := translate(typed); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// Nothing is lost but what is translated, and nothing comes that was not typed.
func FuzzKeys(f *testing.F) {
	f.Add("a\x1b[1~b\x1b")
	f.Fuzz(func(t *testing.T, typed string) {
		got := translate(typed + "\r\r\r")
		if !strings.Contains(typed, "\x1b") && got != typed+"\r\r\r" || !strings.HasSuffix(got, "\r") {
			t.Errorf("%q: %q", typed, got)
		}
	})
}

func TestHomeAndEndOfTheKernelsTerminal(t *testing.T) {
	p := at(t, t.Context())
	p.typ("gs one\x1b[1~ar\x1b[4~ two\r")
	p.see(`["one" "two"]`)
}
