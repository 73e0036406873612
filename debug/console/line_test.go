package console

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// screen is what a terminal shows after these bytes: \r and \n are all it
// knows, which is all that Line may use.
func screen(t *testing.T, out string) []string {
	t.Helper()
	lines := []string{""}
	col := 0
	for _, r := range out {
		cur := []rune(lines[len(lines)-1])
		switch r {
		case '\r':
			col = 0
		case '\n':
			lines, col = append(lines, ""), 0
		default:
			if r < ' ' {
				t.Fatalf("control character %q", r)
			}
			for len(cur) <= col {
				cur = append(cur, ' ')
			}
			cur[col] = r
			col++
			lines[len(lines)-1] = string(cur)
		}
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func TestStatusStaysBelowTheLog(t *testing.T) {
	var out bytes.Buffer
	l := NewLine(&out, true, 20)
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(s string) {
		t.Helper()
		_, err := l.Write([]byte(s))
		step(err)
	}
	check := func(want ...string) {
		t.Helper()
		if got := screen(t, out.String()); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("screen %q, want %q", got, want)
		}
	}
	write("log 1\n")
	step(l.SetStatus("12 % of the long image"))
	check("log 1", "12 % of the long im")
	step(l.SetStatus("99 %"))
	check("log 1", "99 %")
	write("log 2\nlog 3\n")
	check("log 1", "log 2", "log 3", "99 %")
	step(l.SetStatus(""))
	check("log 1", "log 2", "log 3", "")
	write("log 4, unfinished")
	step(l.SetStatus("x"))
	check("log 1", "log 2", "log 3", "log 4, unfinished", "x")
	step(l.SetStatus("done"))
	step(l.Keep())
	write("end\n")
	check("log 1", "log 2", "log 3", "log 4, unfinished", "done", "end", "")
}

func TestStatusOnNoTerminal(t *testing.T) {
	var out bytes.Buffer
	l := NewLine(&out, false, 80)
	now := time.Unix(1000, 0)
	l.now = func() time.Time { return now }
	for _, s := range []string{"1 %", "", "3 %", "3b %", "4 %", "5 %", "6 %", "7 %"} {
		if err := l.SetStatus(s); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	if _, err := l.Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	// Printed at 0 s, 6 s and 12 s; taking a status away prints nothing.
	if got, want := out.String(), "1 %\n3b %\n6 %\nlog\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
