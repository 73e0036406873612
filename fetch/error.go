package fetch

import (
	"time"

	"netstage/fetch/internal/mirror"
)

// Error is why a download failed, and how far it was. Its text is one line,
// without credentials; fault.ClassOf has its class, fault.TriedOf the last
// attempts with their times, in seconds since the download began.
type Error struct {
	fault *mirror.Fault
	state Progress
}

// Error returns the cause in one line.
func (e *Error) Error() string { return e.fault.Error() }

// Unwrap returns what has the class.
func (e *Error) Unwrap() error { return e.fault }

// Progress is how far the download was, with the state of every mirror.
func (e *Error) Progress() Progress { return e.state }

// Permanent reports whether another try cannot help.
func (e *Error) Permanent() bool { return e.fault.Scope != mirror.Transient }

// RetryAfter is how long the server asked to be left alone; 0: it did not.
func (e *Error) RetryAfter() time.Duration { return e.fault.RetryAfter }

// failed is nil for a nil fault.
func failed(f *mirror.Fault) error {
	if f == nil {
		return nil
	}
	return &Error{fault: f}
}
