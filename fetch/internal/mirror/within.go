package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"time"

	"netstage/fetch/pace"
)

// withinTime asks, and gives up when the connection, its handshake, or the
// header of the answer is not there in time. Each has a time of its own.
func withinTime(client *http.Client, r *http.Request, limits pace.Timeouts) (*http.Response, error) {
	// It ends with the request's own, which whoever reads the body ends.
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &phases{cancel: cancel}
	w.timer = time.AfterFunc(math.MaxInt64, w.over)
	defer w.timer.Stop()
	trace := &httptrace.ClientTrace{
		GetConn:           func(string) { w.next(true, "", 0) }, // of a redirect, too
		TLSHandshakeStart: func() { w.next(false, "TLS handshake", limits.TLS) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { w.next(false, "", 0) },
		GotConn:           func(httptrace.GotConnInfo) { w.next(true, "header", limits.Header) },
	}
	ctx = context.WithValue(ctx, dialLimit{}, limits.Dial)
	resp, err := client.Do(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	var late *lateError
	if err != nil && errors.As(context.Cause(ctx), &late) {
		err = late
	}
	return resp, err
}

// phases is what a request waits for.
type phases struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu    sync.Mutex
	got   bool // a connection: what becomes of others does not matter
	what  string
	limit time.Duration
}

// next begins a phase; with no name nothing is timed here.
func (w *phases) next(ours bool, what string, limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.got && !ours {
		return
	}
	w.got = what == "header"
	w.what, w.limit = what, limit
	if what == "" {
		w.timer.Stop()
		return
	}
	w.timer.Reset(limit)
}

func (w *phases) over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.what != "" {
		w.cancel(&lateError{w.what, w.limit})
	}
}

// lateError says what did not come in time.
type lateError struct {
	what  string
	limit time.Duration
}

func (e *lateError) Error() string { return fmt.Sprintf("no %s within %v", e.what, e.limit) }

// Unwrap is what it is to those who ask for timeouts.
func (e *lateError) Unwrap() error { return os.ErrDeadlineExceeded }

// dialLimit is the key of how long a dial may take, in the context of a
// request.
type dialLimit struct{}
