package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"netstage/fetch/ref"
)

// deliveredAtLeast is how much a mirror must send for its earlier failures to be forgotten.
const deliveredAtLeast = 64 << 10

// attempt asks s for what is missing and keeps what comes. Whole means that this is the image, verified; when it is
// not, and nothing went wrong either, the pool has what comes next.
func (e *engine) attempt(life context.Context, s *source) (whole bool, fault *Error) {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	begun, received := time.Now(), e.stats.Received
	s.delivered = false
	defer func() { s.measure(e.stats.Received-received, time.Since(begun)) }()
	resp, a, err := e.answerOf(ctx, s)
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
	return e.copyBody(ctx, cancel, s, resp.Body, a)
}

// answerOf sends the request and judges the answer. A mirror whose image changed is asked once more, from the start.
func (e *engine) answerOf(ctx context.Context, s *source) (*http.Response, answer, *Error) {
	if why, must := e.mustRestart(s); must {
		e.restart(s, why)
	}
	for {
		resp, err := e.send(ctx, s)
		if err != nil && e.ask.forgiveDates(s, err) {
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, answer{}, newError(transient, "reset", err, "%s: closed the connection without an answer", s.name)
		}
		if err != nil {
			return nil, answer{}, classify(s.name, err)
		}
		s.answer = resp.Proto + " " + oneLine(resp.Status)
		a, fault := checkResponse(s, resp, e.asked(s), e.demanded(s), e.size, e.req.Size > 0, e.req.RetryAfterCap, e.req.Now())
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
		last = e.pool.gap(first)
	}
	e.stats.Requests++
	return e.ask.do(ctx, s, first, last, e.demanded(s))
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
	if e.pool == nil && e.dividable(resp, a) {
		e.pool = newPool(life, e)
	}
	return nil
}

func sizeText(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return fmt.Sprintf("%d MiB", mib(n))
}
