package fetch

import (
	"context"
	"io"
	"sync"
	"time"

	"netstage/fetch/internal/mirror"
)

// ErrNoRanges is in the errors of mirrors that send all or nothing.
var ErrNoRanges = mirror.ErrNoRanges

// Ranges asks mirrors for parts of an image whose size is known and whose
// blocks the caller verifies: it compares no versions, and follows no order.
// Its methods may be called by several goroutines at once.
type Ranges struct {
	ask     *mirror.Requester
	mirrors []*mirror.Mirror
	req     Request
	mu      sync.Mutex // of what mirrors are forgiven
}

// NewRanges makes one of a request's Mirrors, names and ways to connect. Verify
// or Checked, and Size, must be set; Store is not used.
func NewRanges(req Request) (*Ranges, error) {
	req = req.withDefaults()
	mirrors, err := req.mirrors()
	if err != nil {
		return nil, failed(err)
	}
	return &Ranges{ask: mirror.NewRequester(req.config()), mirrors: mirrors, req: req}, nil
}

// Mirrors is how many there are.
func (r *Ranges) Mirrors() int { return len(r.mirrors) }

// Name is what messages call a mirror.
func (r *Ranges) Name(mirror int) string { return r.mirrors[mirror].Name }

// Near tells whether a mirror is the cache, which is asked before the others.
func (r *Ranges) Near(mirror int) bool { return r.mirrors[mirror].Near }

// Get asks a mirror for the bytes first to last. The body may end early. A
// mirror that has no ranges fails with the class "bad-range"; errors are
// *Error.
func (r *Ranges) Get(ctx context.Context, index int, first, last int64) (io.ReadCloser, error) {
	// What is learnt of a mirror while it is asked belongs to this call alone,
	// but for how long it takes, and what it is forgiven.
	r.mu.Lock()
	m := r.mirrors[index].Own()
	r.mu.Unlock()
	for {
		resp, err := r.ask.Do(ctx, m, mirror.Part{First: first, Last: last})
		switch {
		case err == nil:
		case r.ask.ForgiveDates(m, err):
			continue
		default:
			f := mirror.Classify(m.Name, err)
			if m.Allow(1) == r.mirrors[index].Allow(1) { // no other has told it
				r.mirrors[index].Waited(f)
			}
			r.learn(index, m, false)
			return nil, failed(f)
		}
		if err := r.ask.CheckPart(m, resp, first, last, r.req.Size); err != nil {
			resp.Body.Close()
			r.learn(index, m, false)
			return nil, failed(err)
		}
		r.learn(index, m, true)
		return resp.Body, nil
	}
}

func (r *Ranges) learn(index int, own *mirror.Mirror, answered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mirrors[index].Learn(own, answered)
}

// Patience is how long to wait for more of a body, where the wait was d before
// the mirror was late with anything: a connection, an answer, or its bytes.
func (r *Ranges) Patience(mirror int, d time.Duration) time.Duration {
	return r.mirrors[mirror].Allow(d)
}

// Late tells how a body came: so late that it was not waited for, or without
// any wait.
func (r *Ranges) Late(mirror int, late bool) { r.mirrors[mirror].Late(late) }

// Close ends what is under way and waits for it.
func (r *Ranges) Close() {
	r.ask.Close(r.mirrors)
}
