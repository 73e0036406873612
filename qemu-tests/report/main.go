// Report reads the events of "go test -json" and prints what people want to
// know: a line for each package, the output of what failed, what was skipped
// and why, the tests that took longest, and a line of totals. It exits 1 when a
// test failed or none passed, and with CI set in the environment also when one
// was skipped.
//
// With -again, the few tests that failed are run once more, each alone, by "go
// test" with the arguments that follow. One that passes then is named as
// flaky, with what it printed when it failed, and fails nothing.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type tally struct {
	passed, failed, skipped int
	output                  map[string][]string // of the tests under way
	parents                 map[string]bool     // tests with subtests, which count for themselves
	took                    []event             // whole tests that ended
	broken                  []event             // whole tests that failed
	died                    map[string]bool     // packages with a line of fatal, or not run to the end
}

// longest is how many tests are named for their duration.
const longest = 12

// figures begin a line that is shown of a test that passed, too.
const figures = "soak: "

// fatal begins a line of what is never chance: the end of a package before its
// tests ended, or a data race.
var fatal = []string{"panic: ", "fatal error: ", "signal: ", "WARNING: DATA RACE"}

func main() {
	again := flag.Bool("again", false, "run the few tests that failed once more, alone")
	flag.Parse()
	t := newTally()
	if err := t.read(os.Stdin, os.Stdout); err != nil {
		fmt.Println("report:", err)
		os.Exit(1)
	}
	t.showLongest(os.Stdout)
	if *again && t.worthAnother() {
		t.runAgain(os.Stdout, goTest(flag.Args()))
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if t.bad(os.Getenv("CI") != "") {
		os.Exit(1)
	}
}

// bad tells whether the tests hold a change up. Where none has passed, none was
// run.
func (t *tally) bad(ci bool) bool {
	return t.failed > 0 || t.passed == 0 || t.skipped > 0 && ci
}

func newTally() *tally {
	return &tally{output: map[string][]string{}, parents: map[string]bool{}, died: map[string]bool{}}
}

func (t *tally) read(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err != nil && err != io.EOF:
			return err
		case json.Unmarshal(line, &e) != nil:
			out.Write(line) // the compiler's, or make's
			continue
		}
		t.take(e, out)
	}
}

func (t *tally) take(e event, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			t.parents[e.Package+" "+e.Test[:i]] = true
		}
	case "output", "build-output":
		if strings.HasPrefix(e.Output, figures) {
			fmt.Fprint(out, e.Output)
		}
		if slices.ContainsFunc(fatal, func(s string) bool { return strings.HasPrefix(e.Output, s) }) {
			t.died[e.Package] = true
		}
		t.output[key] = append(t.output[key], e.Output)
	case "build-fail":
		t.died[e.Package] = true
		t.show(out, "BUILD FAILED", key)
	case "pass", "fail", "skip":
		t.ended(e, key, out)
		delete(t.output, key)
	}
}

func (t *tally) ended(e event, key string, out io.Writer) {
	if e.Test == "" {
		switch e.Action {
		case "pass":
			fmt.Fprintf(out, "ok    %-40s %7.1f s\n", e.Package, e.Elapsed)
		case "fail":
			// Also a package that does not build or dies between tests.
			t.failed++
			if !slices.ContainsFunc(t.broken, func(b event) bool { return b.Package == e.Package }) {
				t.died[e.Package] = true
			}
			t.show(out, "FAIL", key)
		}
		return
	}
	if !strings.Contains(e.Test, "/") {
		t.took = append(t.took, e)
		if e.Action == "fail" {
			t.broken = append(t.broken, e)
		}
	}
	leaf := !t.parents[key]
	switch {
	case e.Action == "pass" && leaf:
		t.passed++
	case e.Action == "fail":
		t.failed++
		t.show(out, "FAIL", key)
	case e.Action == "skip" && leaf:
		t.skipped++
		t.show(out, "SKIP", key)
	}
}

func (t *tally) showLongest(out io.Writer) {
	slices.SortFunc(t.took, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	for _, e := range t.took[:min(longest, len(t.took))] {
		fmt.Fprintf(out, "%6.1f s  %s %s\n", e.Elapsed, e.Package, e.Test)
	}
}

func (t *tally) show(out io.Writer, verdict, key string) {
	fmt.Fprintf(out, "%s  %s\n", verdict, key)
	for _, line := range t.output[key] {
		if !strings.HasPrefix(strings.TrimSpace(line), "=== ") {
			fmt.Fprint(out, "      ", line)
		}
	}
}
