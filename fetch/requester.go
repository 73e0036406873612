package fetch

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"
)

// requester asks mirrors for an image or parts of it. What it learns of a
// mirror stands in that.
type requester struct {
	req    Request
	client *http.Client
	dialer *dialer
}

func newRequester(req Request) *requester {
	d := newDialer(req)
	return &requester{req: req, client: newClient(req, d), dialer: d}
}

// close ends what is under way, waits for it, and closes the connections that
// were for some mirrors alone.
func (q *requester) close(sources []*source) {
	q.dialer.close()
	q.client.CloseIdleConnections()
	for _, s := range sources {
		if s.client != nil {
			s.client.CloseIdleConnections()
		}
	}
}

// do asks a mirror for the bytes first to last, -1 for all that follow, if they are of a version. It may be called by
// several goroutines at once.
func (q *requester) do(ctx context.Context, s *source, first, last int64, version validator) (*http.Response, error) {
	if last >= 0 && last < first {
		// No server has such a part: asking again would never help.
		return nil, newError(fatal, "internal", nil, "the next request would be for the bytes %d to %d of the %s: a fault of this program", first, last, q.req.What)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, newError(mirror, "bad-url", nil, "%s: not a URL", s.name)
	}
	r.Header.Set("User-Agent", q.req.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if s.forgiven > 0 { // by whom, nobody knows: its certificate is out of date
		r.URL.User = nil
	} else if q.req.Bearer != nil && s.url.User == nil {
		if token := q.req.Bearer(s.url); token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
	if first > 0 || last >= 0 {
		span := fmt.Sprintf("bytes=%d-", first)
		if last >= 0 {
			span += fmt.Sprint(last)
		}
		r.Header.Set("Range", span)
		if v := version.ifRange(); v != "" {
			r.Header.Set("If-Range", v)
		}
	}
	q.req.Log.Debug(fmt.Sprintf("%s: GET %s from byte %d", q.req.What, s.location, first))
	client := q.client
	if s.client != nil {
		client = s.client
	}
	return withinTime(client, r, s.allow(q.req.Timeouts.Header))
}

// withinTime asks, and gives up when the header of the answer is not there in time. The time begins when there is a
// connection: to get one has a time of its own.
func withinTime(client *http.Client, r *http.Request, limit time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context()) // ends with the request's own, which whoever reads the body ends
	timer := time.AfterFunc(math.MaxInt64, func() { cancel(os.ErrDeadlineExceeded) })
	defer timer.Stop()
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { timer.Stop() }, // of a redirect
		GotConn: func(httptrace.GotConnInfo) { timer.Reset(limit) },
	}
	resp, err := client.Do(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil && context.Cause(ctx) == os.ErrDeadlineExceeded {
		err = fmt.Errorf("no header within %v: %w", limit, os.ErrDeadlineExceeded)
	}
	return resp, err
}
