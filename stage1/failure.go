package stage1

import (
	"context"
	"errors"
	"time"
)

// A Failure is a step that failed, as an operator should hear of it.
type Failure struct {
	Class   string // stable name of the cause, such as "no-lease"
	Cause   string // one line
	Step    string
	Title   string   // of the step
	Tried   []string // attempts, newest last
	Links   LinkTable
	Started time.Duration
	Took    time.Duration
	Attempt int    // at the step, from 1
	Next    string // the step to go on with, where this one may be left out; else ""

	Facts   []Fact                   // what else is worth seeing
	Network func(width int) []string // the table of links as it is now; nil: there is none
}

// A Fact is lines about one matter.
type Fact struct {
	Title string
	Lines []string
}

// ClassOf asks err for its class. Errors that have none are "failed", or
// "step-timeout".
func ClassOf(err error) string {
	if err == nil {
		return ""
	}
	var classed interface{ Class() string }
	switch {
	case errors.As(err, &classed):
		return classed.Class()
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "step-timeout"
	}
	return "failed"
}

func failure(step Step, err error, attempt int, started, took time.Duration) Failure {
	f := Failure{
		Class: ClassOf(err), Cause: err.Error(), Step: step.Name, Title: step.Title,
		Started: started, Took: took, Attempt: attempt,
	}
	var tried interface{ Tried() []string }
	if errors.As(err, &tried) {
		f.Tried = tried.Tried()
	}
	return f
}
