package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// ErrNoRanges is in the errors of mirrors that send all or nothing.
var ErrNoRanges = errors.New("no ranges")

// Ranges asks mirrors for parts of an image whose size is known and whose
// blocks the caller verifies: it compares no versions, and follows no order.
// Its methods may be called by several goroutines at once.
type Ranges struct {
	ask     *requester
	sources []*source
}

// NewRanges makes one of a request's Mirrors, names and ways to connect. Verify
// or Checked, and Size, must be set; Store is not used.
func NewRanges(req Request) (*Ranges, error) {
	req = req.withDefaults()
	sources, err := newSources(req.Mirrors, req.Proxy)
	if err != nil {
		return nil, err
	}
	return &Ranges{ask: newRequester(req), sources: sources}, nil
}

// Mirrors is how many there are.
func (r *Ranges) Mirrors() int { return len(r.sources) }

// Name is what messages call a mirror.
func (r *Ranges) Name(mirror int) string { return r.sources[mirror].name }

// Get asks a mirror for the bytes first to last. The body may end early. A
// mirror that has no ranges fails with the class "bad-range"; errors are *Error.
func (r *Ranges) Get(ctx context.Context, mirror int, first, last int64) (io.ReadCloser, error) {
	s := r.sources[mirror]
	if s.dead != nil {
		return nil, s.dead
	}
	// What is learnt of a mirror while it is asked belongs to this call alone.
	own := &source{location: s.location, url: s.url, name: s.name}
	var resp *http.Response
	for {
		var err error
		if resp, err = r.ask.do(ctx, own, first, last, validator{}); err == nil {
			break
		}
		if !r.ask.forgiveDates(own, err) {
			return nil, classify(own.name, err)
		}
	}
	if err := r.judge(own, resp, first, last); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// judge is strict about what a body begins with, and that it is of an image of
// the right size.
func (r *Ranges) judge(s *source, resp *http.Response, first, last int64) *Error {
	h := resp.Header
	span, ok := parseContentRange(h.Get("Content-Range"))
	switch enc := coding(h); {
	case resp.StatusCode == http.StatusOK && !ok:
		return newError(transient, "bad-range", ErrNoRanges, "%s: sends all where a part was asked for", s.name)
	case resp.StatusCode != http.StatusPartialContent && resp.StatusCode != http.StatusOK:
		return statusError(s, resp, r.ask.req.RetryAfterCap, r.ask.req.Now())
	case enc != "":
		return newError(transient, "encoding", nil, "%s: sends the image with Content-Encoding %s", s.name, enc)
	case !ok || span.first != first || span.last > last:
		return newError(transient, "bad-range", nil, "%s: asked from byte %d on it answers Content-Range %q", s.name, first, h.Get("Content-Range"))
	case span.total >= 0 && span.total != r.ask.req.Size:
		return newError(transient, "mismatch", nil, "%s: its image has %d bytes, expected %d", s.name, span.total, r.ask.req.Size)
	}
	return nil
}

// Close ends what is under way and waits for it.
func (r *Ranges) Close() {
	r.ask.close(r.sources)
}
