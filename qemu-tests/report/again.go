package main

import (
	"fmt"
	"io"
	"os/exec"
)

// few is how many tests may fail and be tried again: more is not chance.
const few = 4

// worthAnother tells whether a second try can say something: whole tests
// failed, not many, and no package ended before its tests did.
func (t *tally) worthAnother() bool {
	return len(t.broken) > 0 && len(t.broken) <= few && len(t.died) == 0
}

// runAgain gives every test that failed one more try. When all pass, nothing
// has failed.
func (t *tally) runAgain(out io.Writer, try func(pkg, test string) ([]byte, error)) {
	flaky := 0
	for _, e := range t.broken {
		fmt.Fprintf(out, "AGAIN  %s %s\n", e.Package, e.Test)
		text, err := try(e.Package, e.Test)
		if err != nil {
			fmt.Fprintf(out, "%s%v\n", text, err)
			continue
		}
		flaky++
		fmt.Fprintf(out, "FLAKY  %s %s: it failed, and passed alone\n", e.Package, e.Test)
	}
	if flaky == len(t.broken) {
		t.passed += flaky
		t.failed = 0
	}
}

func goTest(args []string) func(pkg, test string) ([]byte, error) {
	return func(pkg, test string) ([]byte, error) {
		args := append([]string{"test", "-count=1", "-timeout", "15m"}, args...)
		return exec.Command("go", append(args, "-run", "^"+test+"$", pkg)...).CombinedOutput()
	}
}
