package fault

import (
	"context"
	"errors"
	"fmt"
)

// An Error is a cause with its class. A type that has more to tell holds one
// and returns it from its Unwrap.
type Error struct {
	Class Class
	Text  string   // one line; empty: that of Cause
	Cause error    // may be nil
	Tried []string // attempts, newest last
}

// Errorf makes an Error as fmt.Errorf does; its cause is what %w stands for.
func Errorf(class Class, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Class: class, Text: err.Error()}
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		e.Cause = err
	}
	return e
}

// Error is the cause in one line.
func (e *Error) Error() string {
	if e.Text == "" && e.Cause != nil {
		return e.Cause.Error()
	}
	return e.Text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Cause }

// ClassOf is the class of the outermost error in err's tree that has one. That
// of nil is empty, of a deadline StepTimeout, of any other error Failed.
func ClassOf(err error) Class {
	class := GivenClass(err)
	switch {
	case err == nil || class != "":
		return class
	case errors.Is(err, context.DeadlineExceeded):
		return StepTimeout
	}
	return Failed
}

// GivenClass is ClassOf of an error that was given a class, and else empty.
func GivenClass(err error) (class Class) {
	walk(err, func(err error) bool {
		e, ok := err.(*Error)
		if ok = ok && e.Class != ""; ok {
			class = e.Class
		}
		return ok
	})
	return class
}

// TriedOf are the attempts of the outermost error in err's tree that has any.
func TriedOf(err error) (tried []string) {
	walk(err, func(err error) bool {
		if e, ok := err.(*Error); ok {
			tried = e.Tried
		}
		return len(tried) > 0
	})
	return tried
}

// walk goes through err's tree as errors.As does, until found says that it is.
func walk(err error, found func(error) bool) bool {
	for err != nil {
		if found(err) {
			return true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				if walk(err, found) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}
