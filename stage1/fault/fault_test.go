package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestClassOf(t *testing.T) {
	lease := &Error{Class: NoLease, Text: "nobody answers"}
	for name, test := range map[string]struct {
		err         error
		want, given Class
	}{
		"nil":                {nil, "", ""},
		"none":               {errors.New("x"), Failed, ""},
		"a deadline":         {fmt.Errorf("x: %w", context.DeadlineExceeded), StepTimeout, ""},
		"wrapped":            {fmt.Errorf("x: %w", lease), NoLease, NoLease},
		"joined":             {errors.Join(errors.New("x"), lease), NoLease, NoLease},
		"the outermost":      {Errorf(NoRoute, "x: %w", lease), NoRoute, NoRoute},
		"after a deadline":   {fmt.Errorf("%w: %w", context.DeadlineExceeded, lease), NoLease, NoLease},
		"an Error with none": {&Error{Cause: lease}, NoLease, NoLease},
	} {
		if got := ClassOf(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if got := GivenClass(test.err); got != test.given {
			t.Errorf("%s: given %q, want %q", name, got, test.given)
		}
	}
}

func TestErrorf(t *testing.T) {
	cause := errors.New("cause")
	for _, test := range []struct {
		err  *Error
		text string
		is   bool
	}{
		{Errorf(Mount, "at %d", 1), "at 1", false},
		{Errorf(Mount, "at %d: %w", 1, cause), "at 1: cause", true},
		{Errorf(Mount, "%w and %w", errors.New("first"), cause), "first and cause", true},
		{&Error{Class: Mount, Cause: cause}, "cause", true},
	} {
		if test.err.Error() != test.text || errors.Is(test.err, cause) != test.is || (test.err.Unwrap() != nil) != test.is {
			t.Errorf("%q, is the cause: %v; want %q, %v", test.err, errors.Is(test.err, cause), test.text, test.is)
		}
	}
}

func TestTriedOf(t *testing.T) {
	inner := &Error{Class: Refused, Text: "x", Tried: []string{"10.0.0.1", "10.0.0.2"}}
	if got := TriedOf(Errorf(NoRoute, "outer: %w", errors.Join(errors.New("other"), inner))); !slices.Equal(got, inner.Tried) {
		t.Errorf("%q", got)
	}
	if got := TriedOf(errors.New("x")); got != nil {
		t.Errorf("%q", got)
	}
}

// No constant is without advice of its own, in the file where it stands.
func TestConstantsHaveAdvice(t *testing.T) {
	constant := regexp.MustCompile(`(?m)^\t(\w+) +Class = "([a-z0-9-]+)"`)
	constants := 0
	for _, file := range []string{"network.go", "image.go", "machine.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range constant.FindAllSubmatch(text, -1) {
			constants++
			if class := Class(c[2]); !class.Known() {
				t.Errorf("%s: %s has no advice", file, c[1])
			}
		}
	}
	if want := len(Classes()); constants != want {
		t.Errorf("%d classes are constants, %d have advice", constants, want)
	}
}

// A class stands in one table once. What is none has advice, too, and that of
// an HTTP status is of its kind.
func TestAdvice(t *testing.T) {
	seen := map[Class]bool{}
	for _, class := range Classes() {
		if seen[class] || !class.Known() || len(class.Advice()) < 2 {
			t.Errorf("%s: twice %v, advice %q", class, seen[class], class.Advice())
		}
		seen[class] = true
	}
	if len(seen) < 40 {
		t.Errorf("only %d classes", len(seen))
	}
	if got := HTTP(403); got != "http-403" || got.Known() || !slices.Equal(got.Advice(), NotFound.Advice()) {
		t.Errorf("%s: %q", got, got.Advice())
	}
	if got := HTTP(503).Advice(); !strings.Contains(got[0], "error log") {
		t.Errorf("%q", got)
	}
	if got := Class("new").Advice(); len(got) == 0 {
		t.Error("a new class has no advice")
	}
	NoLease.Advice()[0] = "changed"
	if NoLease.Advice()[0] == "changed" {
		t.Error("advice was changed by who asked for it")
	}
}

func TestHTTPStatus(t *testing.T) {
	for class, want := range map[Class]int{HTTP(503): 503, NotFound: 404, NoLease: 0, "http-": 0, "404": 0, "http-x": 0, "": 0} {
		if got := class.HTTPStatus(); got != want {
			t.Errorf("%q: %d, want %d", class, got, want)
		}
	}
}
