package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// events are those of a package with two tests, of which Flaky fails in a
// subtest and the package therefore too.
const events = `{"Action":"run","Package":"p","Test":"Good"}
{"Action":"pass","Package":"p","Test":"Good"}
{"Action":"run","Package":"p","Test":"Flaky"}
{"Action":"run","Package":"p","Test":"Flaky/sub"}
{"Action":"output","Package":"p","Test":"Flaky/sub","Output":"why it failed\n"}
{"Action":"fail","Package":"p","Test":"Flaky/sub"}
{"Action":"fail","Package":"p","Test":"Flaky"}
`

const failed = `{"Action":"fail","Package":"p"}
`

func TestAgain(t *testing.T) {
	passes := func(string, string) ([]byte, error) { return nil, nil }
	fails := func(string, string) ([]byte, error) { return []byte("once more\n"), errors.New("exit status 1") }
	for _, c := range []struct {
		name, events string
		try          func(pkg, test string) ([]byte, error)
		worth        bool
		failed       bool
		shown        string
	}{
		{"passes alone", events + failed, passes, true, false, "FLAKY  p Flaky"},
		{"fails again", events + failed, fails, true, true, "once more"},
		{"nothing failed", `{"Action":"pass","Package":"p"}` + "\n", nil, false, false, "ok"},
		{"tests after it were not run", events + `{"Action":"output","Package":"p","Output":"panic: test timed out\n"}` + "\n" + failed, nil, false, true, "why it failed"},
		{"a data race", `{"Action":"output","Package":"p","Test":"Flaky","Output":"WARNING: DATA RACE\n"}` + "\n" + events + failed, nil, false, true, "why it failed"},
		{"a package does not build", events + failed + `{"Action":"build-fail","Package":"q"}` + "\n" + `{"Action":"fail","Package":"q"}` + "\n", nil, false, true, "BUILD FAILED"},
		{"a package dies between tests", events + failed + `{"Action":"fail","Package":"q"}` + "\n", nil, false, true, "FAIL  q"},
		{"too many", many(few+1) + failed, nil, false, true, "FAIL  p T4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			tl := newTally()
			if err := tl.read(strings.NewReader(c.events), &out); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if got := tl.worthAnother(); got != c.worth {
				t.Fatalf("worth another try: %v", got)
			}
			if c.worth {
				tl.runAgain(&out, c.try)
			}
			if tl.failed > 0 != c.failed || !strings.Contains(out.String(), c.shown) {
				t.Errorf("%d failed\n%s", tl.failed, out.String())
			}
		})
	}
}

// A list of packages that came out empty is no success.
func TestBad(t *testing.T) {
	const skip = `{"Action":"run","Package":"p","Test":"S"}` + "\n" + `{"Action":"skip","Package":"p","Test":"S"}` + "\n"
	const pass = `{"Action":"run","Package":"p","Test":"P"}` + "\n" + `{"Action":"pass","Package":"p","Test":"P"}` + "\n"
	for _, c := range []struct {
		name, events string
		here, ci     bool
	}{
		{"all passed", pass, false, false},
		{"one skipped", pass + skip, false, true},
		{"one failed", pass + events + failed, true, true},
		{"nothing run", "no Go files in /src\n", true, true},
	} {
		tl := newTally()
		if err := tl.read(strings.NewReader(c.events), io.Discard); err != nil {
			t.Fatal(err)
		}
		if tl.bad(false) != c.here || tl.bad(true) != c.ci {
			t.Errorf("%s: %v, in CI %v", c.name, tl.bad(false), tl.bad(true))
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"Action":"run","Package":"p","Test":"T%[1]d"}`+"\n"+`{"Action":"fail","Package":"p","Test":"T%[1]d"}`+"\n", i)
	}
	return b.String()
}
