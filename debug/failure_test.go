package debug

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/screens anew")

// failureOf is a failure as a real boot would report it, with more of
// everything than fits.
func failureOf(class string) Failure {
	f := Failure{
		Class:   class,
		Cause:   "https://images.example.net/fleet/blue/2026-11-22/nixos-system-rack12-u07.squashfs: the reason in one sentence that names what was attempted, by whom and what came back",
		Step:    "image",
		Attempt: 2,
		Elapsed: 31234 * time.Millisecond,
	}
	for i := range 9 {
		f.Tried = append(f.Tried, fmt.Sprintf("10:00:%02d mirror %d: connection reset after %d MB", 2*i, i%3, 17*i))
	}
	for i := range 30 {
		f.Lines = append(f.Lines, fmt.Sprintf("[%5d.%06d] stage-1-init: image: %d %% of 1.2 GB, 88.1 MB/s, 12 s left, from mirror %d", 3+i, 214567, 3*i, i%3))
	}
	return f
}

// Every class has a screen that fits 80 by 24 with menu and countdown, is
// plain ASCII, and names class, cause, step, attempts, lines and remedy.
func TestScreenOfEachClass(t *testing.T) {
	for _, class := range append(Classes(), "http-503", "something-new") {
		t.Run(class, func(t *testing.T) {
			f := failureOf(class)
			got := f.Screen(80, 23, "Keys: i shell, f shell as PID 1, r reboot, d kernel log, any other: retry")
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
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
			for _, want := range []string{"boot failed: " + class, "what came back", "Step: image, failed after 31.2 s, attempt 2",
				"Tried (the last", f.Tried[8], "Last lines (the last", "87 % of 1.2 GB", "What to do:", "any other: retry"} {
				if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
					t.Errorf("screen lacks %q:\n%s", want, got)
				}
			}
			advice := strings.Join(strings.Fields(strings.Join(AdviceFor(class), " ")), " ")
			shown := strings.Join(strings.Fields(strings.ReplaceAll(got, "  - ", " ")), " ")
			if !strings.Contains(shown, advice) {
				t.Errorf("advice is cut:\n%s", got)
			}

			golden := filepath.Join("testdata", "screens", class+".txt")
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
	got := Failure{Class: "no-init", Cause: "no “init=” — given", Advice: []string{"give one"}}.Screen(40, 10, "Keys: r reboot")
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

func TestScreenShowsFacts(t *testing.T) {
	f := failureOf("no-carrier")
	f.Facts = []Facts{{"Links:", []string{"eth0 52:54:00:12:34:56 virtio_net no carrier"}}}
	if got := f.Screen(80, 23); !strings.Contains(got, "Links:\n  eth0 52:54:00:12:34:56 virtio_net no carrier\n") {
		t.Errorf("the table is missing:\n%s", got)
	}
}

func TestCompact(t *testing.T) {
	f := Failure{Class: "refused", Cause: "10.0.2.2:80:\nconnection refused", Step: "image", Tried: []string{"a", "b"}, Advice: []string{"start it"}}
	want := []string{"boot failed: refused: 10.0.2.2:80: connection refused", "step: image", "tried: a", "tried: b", "advice: start it"}
	if d := cmp.Diff(want, f.Compact()); d != "" {
		t.Error(d)
	}
}

func FuzzScreen(f *testing.F) {
	f.Add("no-lease", "cause", "tried\nmore", "line", 80, 24)
	f.Add("x", strings.Repeat("w", 500), "", "\x1b[31m\xff", 1, 1)
	f.Fuzz(func(t *testing.T, class, cause, tried, line string, width, height int) {
		width, height = 20+(width&0x7f), 6+(height&0x3f)
		fail := Failure{Class: class, Cause: cause, Step: line, Tried: strings.Split(tried, "\n"), Lines: []string{line, line}}
		got := fail.Screen(width, height, tried)
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
