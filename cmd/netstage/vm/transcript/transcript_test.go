package transcript

import (
	"bytes"
	"context"
	"regexp"
	"testing"
)

func TestTranscriptTextIsPlain(t *testing.T) {
	var raw bytes.Buffer
	c := New(&raw)
	const said = "\x1bc\x1b[?7l\x1b[2J\x1b(Bone\r\n\x1b]0;title\atwo\x1b[1;31m three\x1b[0m\r\n"
	for _, b := range []byte(said) {
		c.Write([]byte{b})
	}
	if got := c.String(); got != "one\ntwo three\n" {
		t.Errorf("%q", got)
	}
	if raw.String() != said {
		t.Errorf("the console passed on %q", raw.String())
	}
}

func TestExpectGoesOnAfterWhatItFound(t *testing.T) {
	c := New(nil)
	c.Write([]byte("login: login: x1 "))
	for _, want := range []string{"", " "} {
		before, _, err := c.Expect(context.Background(), Text("login:"))
		if err != nil || before != want {
			t.Errorf("before %q, want %q, %v", before, want, err)
		}
	}
	go c.Write([]byte("x2"))
	if _, found, err := c.Expect(context.Background(), Pattern(regexp.MustCompile("x[2-9]"))); err != nil || found != "x2" {
		t.Errorf("found %q, %v", found, err)
	}
	c.Close()
	if _, _, err := c.Expect(context.Background(), Text("x")); err == nil {
		t.Error("something was found twice")
	}
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte("a\x1b[1mb\r\n"))
	f.Add([]byte("\x1b]x\x1b\\y\x1b(Bz"))
	f.Fuzz(func(t *testing.T, p []byte) {
		c := New(nil)
		c.Write(p)
		if bytes.ContainsAny(c.text, "\x1b\r\x00") {
			t.Errorf("%q is shown as %q", p, c.text)
		}
	})
}
