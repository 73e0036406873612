package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"netstage/fetch/ref"
)

// deliveredAtLeast is how much a mirror must send for its earlier failures to be forgotten.
const deliveredAtLeast = 64 << 10

// attempt asks s for what is missing and keeps what comes. Whole means that this is the image, verified; when it is
// not, and nothing went wrong either, the crew has what comes next.
func (e *engine) attempt(life context.Context, s *source) (whole bool, fault *Error) {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	begun, received := time.Now(), e.stats.Received
	s.delivered = false
	defer func() { s.measure(e.stats.Received-received, time.Since(begun)) }()
	resp, a, err := e.ask(ctx, s)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if a.complete {
		e.size = a.size
		err := e.verdict(s, a)
		return err == nil, err
	}
	if err := e.begin(life, s, resp, a); err != nil {
		return false, err
	}
	return e.pour(ctx, cancel, s, resp.Body, a)
}

// ask sends the request and judges the answer. A mirror whose image changed is asked once more, from the start.
func (e *engine) ask(ctx context.Context, s *source) (*http.Response, answer, *Error) {
	if why, must := e.mustRestart(s); must {
		e.restart(s, why)
	}
	for {
		resp, err := e.send(ctx, s)
		if err != nil && e.forgiveDates(s, err) {
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, answer{}, newError(transient, "reset", err, "%s: closed the connection without an answer", s.name)
		}
		if err != nil {
			return nil, answer{}, classify(s.name, err)
		}
		s.answer = resp.Proto + " " + oneLine(resp.Status)
		a, fault := judge(s, resp, e.asked(s), e.demanded(s), e.size, e.req.Size > 0, e.req.RetryAfterCap, e.req.Now())
		if fault == nil {
			return resp, a, nil
		}
		resp.Body.Close()
		if fault.class != "changed" || e.offset == 0 {
			return nil, a, fault
		}
		e.restart(s, fault.text)
		s.version = validator{}
	}
}

// mustRestart tells whether the bytes in hand may not be continued by s.
func (e *engine) mustRestart(s *source) (string, bool) {
	switch {
	case e.offset == 0 || e.from == s:
		return "", false
	case e.pure:
		return "the image is taken from one mirror alone", true
	case !e.req.vouched() && e.version.ifRange() == "":
		return "nothing tells whether it has the same image", true
	}
	return "", false
}

// asked is the first byte that a request to s asks for.
func (e *engine) asked(s *source) int64 {
	if s.noRanges {
		return 0
	}
	return e.offset
}

func (e *engine) send(ctx context.Context, s *source) (*http.Response, error) {
	first, last := e.asked(s), int64(-1)
	if first > 0 {
		last = e.crew.gap(first)
	}
	e.stats.Requests++
	return e.do(ctx, s, first, last, e.demanded(s))
}

// demanded is the version that s must continue; zero: whatever it has. Where something vouches for the image, that
// tells whether it is right, and no validator does: behind one name there may be several servers, each with its own
// validators for the same bytes. A mirror that is asked alone, after a mixture was wrong, must be consistent.
func (e *engine) demanded(s *source) validator {
	switch {
	case !e.req.vouched():
		return e.version
	case e.pure:
		return s.version
	}
	return validator{}
}

// do asks a mirror for the bytes first to last, -1 for all that follow, if they are of a version. It may be called by
// several goroutines at once.
func (e *engine) do(ctx context.Context, s *source, first, last int64, version validator) (*http.Response, error) {
	if last >= 0 && last < first {
		// No server has such a part: asking again would never help.
		return nil, newError(fatal, "internal", nil, "the next request would be for the bytes %d to %d of the %s: a fault of this program", first, last, e.req.What)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, newError(mirror, "bad-url", nil, "%s: not a URL", s.name)
	}
	r.Header.Set("User-Agent", e.req.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if s.forgiven > 0 { // by whom, nobody knows: its certificate is out of date
		r.URL.User = nil
	} else if e.req.Bearer != nil && s.url.User == nil {
		if token := e.req.Bearer(s.url); token != "" {
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
	e.req.Log.Debug(fmt.Sprintf("%s: GET %s from byte %d", e.req.What, s.location, first))
	client := e.client
	if s.client != nil {
		client = s.client
	}
	return withinTime(client, r, s.allow(e.req.Timeouts.Header))
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

// begin makes ready for the body of an accepted answer.
func (e *engine) begin(life context.Context, s *source, resp *http.Response, a answer) *Error {
	if !a.part {
		// Its first byte is the image's first.
		if a.restart == "" {
			a.restart = "it sends no ranges"
		}
		e.restart(s, a.restart)
		if err := e.room.prepare(max(a.size, e.size)); err != nil {
			if err.scope == mirror {
				err.text = s.name + ": " + err.text
			}
			return err
		}
		e.version = validatorOf(resp.Header)
		e.req.Log.Info(fmt.Sprintf("%s: %s from %s", e.req.What, sizeText(max(a.size, e.size)), ref.Redacted(resp.Request.URL.String())))
	} else {
		_, differs := s.version.differs(validatorOf(resp.Header))
		e.mixed = e.mixed || e.from != s || differs || s.version.ifRange() == ""
		e.req.Log.Info(fmt.Sprintf("%s: resuming at %s from %s", e.req.What, e.position(), s.name))
	}
	e.from = s
	s.version = validatorOf(resp.Header)
	if a.size >= 0 {
		e.size = a.size
	}
	if e.crew == nil && e.dividable(resp, a) {
		e.crew = newCrew(life, e)
	}
	return nil
}

func sizeText(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return fmt.Sprintf("%d MiB", mib(n))
}
