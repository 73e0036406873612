package debug

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/fault"
)

var update = flag.Bool("update", false, "write testdata/screens anew")

// keys is the longest line of keys.
const keys = "Keys: i shell, f shell as PID 1, c continue with image, r reboot, d kernel log, l agent log, n network, any other: retry"

// crowded is a failure with more of everything than fits.
func crowded(class fault.Class) fault.Failure {
	f := fault.Failure{
		Class:   class,
		Cause:   "https://images.example.net/fleet/blue/2026-11-22/nixos-system-rack12-u07.squashfs: the reason in one sentence that names what was attempted, by whom and what came back",
		Step:    "image",
		Attempt: 2,
		Took:    31234 * time.Millisecond,
		Earlier: "failed boot 3 in a row",
		Facts: []fault.Fact{
			{Title: "Network", Lines: []string{"eth0 (igb) 00:25:90:aa:10:01: 10.0.2.15/24, 12 s", "eth1 (igb) 00:25:90:aa:10:02: no carrier, 31 s"}},
			{Title: "Mirrors", Lines: []string{"https://images.example.net/fleet/blue/2026-11-22/nixos-system-rack12-u07.squashfs: 503", "http://10.0.0.9/x: refused"}},
			{Title: "Memory", Lines: []string{"1873 of 1987 MiB available"}},
		},
	}
	for i := range 9 {
		f.Tried = append(f.Tried, fmt.Sprintf("%d.0 s  mirror %d: connection reset after %d MB", 2*i, i%3, 17*i))
	}
	for i := range 30 {
		f.Agent = append(f.Agent, fmt.Sprintf("[%5d.%06d] image: %d %% of 1.2 GB, 88.1 MB/s, 12 s left, from mirror %d", 3+i, 214567, 3*i, i%3))
		f.Kernel = append(f.Kernel, fmt.Sprintf("[%5d.%06d] igb 0000:01:00.0: line %d", 3+i, 214567, i))
	}
	return f
}

// readable checks that a dumb terminal of 80 by 24 shows all of a screen, with
// a line left for the countdown.
func readable(t *testing.T, screen string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
	if len(lines) > 23 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 80 {
			t.Errorf("%d columns: %q", len(line), line)
		}
		for _, r := range line {
			if r < ' ' || r > '~' {
				t.Errorf("%q in %q", r, line)
			}
		}
	}
}

// words is a text without its line breaks and bullets.
func words(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "  - ", " ")), " ")
}

// Of more than fits, every class's screen shows something of everything, and
// all of the advice.
func TestCrowdedScreenOfEachClass(t *testing.T) {
	for _, class := range append(fault.Classes(), "http-503", "something-new") {
		t.Run(string(class), func(t *testing.T) {
			f := crowded(class)
			got := Screen(f, 80, 23, keys)
			readable(t, got)
			for _, want := range []string{"boot failed: " + string(class), "what came back", "Step: image, failed after 31.2 s, attempt 2; failed boot 3 in a row",
				"Tried:", words(f.Tried[8]), "earlier)", "Network: eth0 (igb)", "Mirrors: https://images.example.net", "Memory: 1873 of 1987",
				"Agent: [", "87 % of 1.2 GB", "Kernel: [", "igb 0000:01:00.0: line 29", "What to do:", "any other: retry"} {
				if !strings.Contains(words(got), want) {
					t.Errorf("screen lacks %q:\n%s", want, got)
				}
			}
			if advice := words(strings.Join(class.Advice(), " ")); !strings.Contains(words(got), advice) {
				t.Errorf("advice is cut:\n%s", got)
			}
		})
	}
}

// keysAfter are the keys of a machine without shells when that step failed.
func keysAfter(step string, class fault.Class) string {
	nothing := func(context.Context, io.Writer) error { return nil }
	m := menu{Options: Options{
		Again: "retry", KernelLog: nothing, AgentLog: nothing,
		Failure: fault.Failure{
			Network: func(int) []string { return nil },
			Next:    map[string]string{"modules": "devices", "devices": "network", "network": "image", "handover": "stage 2"}[step],
		},
	}}
	if class == "breakpoint" {
		m.Failure.Next, m.Again, m.AllowShell = step, "the shell again", true
	}
	return m.menuLine(m.items())
}

// The screen of every class as real boots show it: it names cause and remedy,
// and is what testdata/screens, and the documents, say that it is.
func TestScreenOfEachClass(t *testing.T) {
	for class, f := range examples() {
		t.Run(string(class), func(t *testing.T) {
			f.Class = class
			got := Screen(f, 80, 23, keysAfter(f.Step, class))
			readable(t, got)
			for _, want := range []string{"boot failed: " + string(class), words(ascii(f.Cause)), "Step: " + f.Step, words(strings.Join(class.Advice(), " ")), "Keys: "} {
				if !strings.Contains(words(got), want) {
					t.Errorf("screen lacks %q:\n%s", want, got)
				}
			}
			golden := filepath.Join("testdata", "screens", string(class)+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestScreenOfLittle(t *testing.T) {
	got := Screen(fault.Failure{Class: "no-init", Cause: "no “init=” — given", Advice: []string{"give one"}}, 40, 10, "Keys: r reboot")
	want := `=== boot failed: no-init ===============
no "init=" - given
What to do:
  - give one
Keys: r reboot
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Colours change nothing but the colours.
func TestPainted(t *testing.T) {
	screen := Screen(crowded("no-lease"), 80, 23, keys)
	got := Painted(screen)
	for _, want := range []string{"\x1b[1;31m=== boot failed: no-lease ", "\x1b[1mTried:\x1b[0m", "\x1b[1mWhat to do:\x1b[0m\n\x1b[1;33m  - Carrier is up", "\x1b[1mKeys:\x1b[0m i shell"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if bare := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(got, ""); bare != screen {
		t.Error(cmp.Diff(screen, bare))
	}
}

func TestCompact(t *testing.T) {
	f := fault.Failure{Class: "refused", Cause: "10.0.2.2:80:\nconnection refused", Step: "image", Tried: []string{"a", "b"}, Advice: []string{"start it"},
		Facts: []fault.Fact{{Title: "Memory", Lines: []string{"little"}}}, Agent: []string{"in the log already"}}
	want := []string{"boot failed: refused: 10.0.2.2:80: connection refused", "step: image", "tried: a", "tried: b", "memory: little", "advice: start it"}
	if d := cmp.Diff(want, Compact(f)); d != "" {
		t.Error(d)
	}
}

func FuzzScreen(f *testing.F) {
	f.Add("no-lease", "cause", "tried\nmore", "line", 80, 24)
	f.Add("x", strings.Repeat("w", 500), "", "\x1b[31m\xff", 1, 1)
	f.Fuzz(func(t *testing.T, class, cause, tried, line string, width, height int) {
		width, height = 20+(width&0x7f), 6+(height&0x3f)
		fail := fault.Failure{Class: fault.Class(class), Cause: cause, Step: line, Tried: strings.Split(tried, "\n"), Agent: []string{line, line},
			Kernel: []string{cause}, Facts: []fault.Fact{{Title: class, Lines: []string{tried, line}}}}
		got := Screen(fail, width, height, tried)
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) > height {
			t.Errorf("%d lines of %d", len(lines), height)
		}
		for _, l := range lines {
			if len(l) > width || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("width %d: %q", width, l)
			}
		}
	})
}
