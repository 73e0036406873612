package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
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
	var conn net.Conn
	resp, a, err := e.ask(withConn(ctx, &conn), s)
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
	return e.pour(ctx, cancel, s, inBatches(resp.Body, resp.ContentLength, conn), a)
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
		a, fault := judge(s, resp, e.asked(s), e.size, e.req.Size > 0, e.req.RetryAfterCap, e.req.Now())
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
	if first > 0 && e.crew != nil && e.crew.first.Load() != noPiece {
		last = e.crew.first.Load() - 1
	}
	// Where nothing vouches for the image, only the very version in hand may be continued.
	version := s.version
	if !e.req.vouched() {
		version = e.version
	}
	e.stats.Requests++
	return e.do(ctx, s, first, last, version)
}

// do asks a mirror for the bytes first to last, -1 for all that follow, if they are of a version. It may be called by
// several goroutines at once.
func (e *engine) do(ctx context.Context, s *source, first, last int64, version validator) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, newError(mirror, "bad-url", nil, "%s: not a URL", s.name)
	}
	r.Header.Set("User-Agent", e.req.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if e.req.Bearer != "" && s.url.User == nil {
		r.Header.Set("Authorization", "Bearer "+e.req.Bearer)
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
	e.req.Log.Debug(fmt.Sprintf("%s: GET %s from byte %d", e.req.What, Redacted(s.url.String()), first))
	if s.client != nil {
		return s.client.Do(r)
	}
	return e.client.Do(r)
}

// begin makes ready for the body of an accepted answer.
func (e *engine) begin(life context.Context, s *source, resp *http.Response, a answer) *Error {
	if resp.StatusCode == http.StatusOK {
		// Its first byte is the image's first.
		if a.restart == "" {
			a.restart = "it sends no ranges"
		}
		e.restart(s, a.restart)
		if err := e.prepare(max(a.size, e.size)); err != nil {
			if err.scope == mirror {
				err.text = s.name + ": " + err.text
			}
			return err
		}
		e.version = validatorOf(resp.Header)
		e.req.Log.Info(fmt.Sprintf("%s: %s from %s", e.req.What, sizeText(max(a.size, e.size)), Redacted(resp.Request.URL.String())))
	} else {
		e.mixed = e.mixed || e.from != s || s.version.ifRange() == ""
		e.req.Log.Info(fmt.Sprintf("%s: resuming at %s from %s", e.req.What, e.position(), s.name))
	}
	e.from = s
	s.version = validatorOf(resp.Header)
	if a.size >= 0 {
		e.size = a.size
	}
	if e.crew == nil && e.dividable(resp) {
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

// pour streams a body into the store, verifying, up to where the crew begins.
func (e *engine) pour(ctx context.Context, cancel context.CancelCauseFunc, s *source, body io.Reader, a answer) (whole bool, fault *Error) {
	var f flow
	f.idle, _ = body.(*batches)
	begin := e.offset
	if e.crew != nil {
		body = &upToCrew{Reader: body, crew: e.crew, at: begin}
	}
	stopWatch := e.watch(cancel, s, &f, begin)
	err := e.ring.pump(body, &f, func() { cancel(nil) }, func(p []byte) error { return e.keep(s, p) })
	stopWatch()
	e.admit()
	e.stats.Received += f.received.Load()
	s.bytes += f.received.Load()
	if e.offset-begin >= deliveredAtLeast {
		s.failures, s.delivered = 0, true
	}
	var own *Error
	switch {
	case errors.As(err, &own):
		return false, own
	case errors.As(context.Cause(ctx), &own): // the watcher's
		return false, own
	case err == errCrew:
		return false, nil
	case err != io.EOF:
		return false, classify(s.name, err)
	case e.size >= 0 && e.offset < e.size && e.offset > begin && e.offset == a.last+1:
		return false, nil // no more was asked for, or promised
	case e.size >= 0 && e.offset < e.size:
		return false, newError(transient, "short", io.ErrUnexpectedEOF, "%s: the body ended early", s.name)
	}
	fault = e.verdict(s, a)
	return fault == nil, fault
}

// keep writes and verifies the next bytes.
func (e *engine) keep(s *source, p []byte) error {
	if e.size >= 0 && e.offset+int64(len(p)) > e.size {
		return newError(mirror, "mismatch", nil, "%s: sends more than the %d bytes of the image", s.name, e.size)
	}
	if err := e.grow(e.offset + int64(len(p))); err != nil {
		return err
	}
	// Written first, then hashed: measured a third cheaper than the other order or both at once. Bytes that turn out
	// wrong are on the store for a moment; they are beyond e.offset, so they are written over, cut off, or dropped
	// with the store.
	if _, err := e.file.WriteAt(p, e.offset); err != nil {
		return storeError(err)
	}
	n, verr := e.verify.Write(p)
	e.offset += int64(n)
	if verr != nil {
		return e.mismatch(s, verr)
	}
	return nil
}

// verdict asks the verifier about the whole image.
func (e *engine) verdict(s *source, a answer) *Error {
	switch {
	case e.offset > 0:
	case a.framed:
		return newError(mirror, "short", nil, "%s: its image is empty", s.name)
	default:
		return newError(transient, "short", io.ErrUnexpectedEOF, "%s: closed the connection before the first byte", s.name)
	}
	err := e.verify.Close()
	switch {
	case err == nil:
		if !a.framed && e.size < 0 && !e.req.trusting() {
			e.req.Log.Warn(fmt.Sprintf("%s: %s sent no length, and nothing vouches for these %d bytes being all", e.req.What, s.name, e.offset))
		}
		return nil
	case !a.framed && e.size < 0 && s.mismatch != e.offset:
		// Cut off or wrong: the next answer tells, since it is asked for what comes after.
		s.mismatch = e.offset
		return newError(transient, "short", err, "%s: the body has no length and ended after %d bytes, which do not verify: %v", s.name, e.offset, err)
	case e.mixed && !e.pure:
		e.pure = true
		e.restart(s, fmt.Sprintf("the parts received do not make up the image (%v)", err))
		return newError(transient, "mismatch", err, "%s: %v, after a resume; one mirror alone will tell which is wrong", s.name, err)
	}
	fault := e.mismatch(s, err)
	e.restart(s, err.Error())
	return fault
}

// mismatch blames a mirror for wrong bytes. A verifier may know a better class.
func (e *engine) mismatch(s *source, err error) *Error {
	class := "mismatch"
	var own interface{ Class() string }
	if errors.As(err, &own) {
		class = own.Class()
	}
	return newError(mirror, class, err, "%s serves a wrong %s: %v (%s)", s.name, e.req.What, err, Redacted(s.url.String()))
}

// tick is how often a download is looked at.
func (e *engine) tick() time.Duration { return min(100*time.Millisecond, e.req.Floor.Window/4) }

// watch reports progress and cuts the body when it stays below the floor. The function it returns ends it and waits.
func (e *engine) watch(cancel context.CancelCauseFunc, s *source, f *flow, begin int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(e.tick())
		defer tick.Stop()
		floor := newFloorGauge(e.req.Floor, time.Now())
		last, lastAt := int64(0), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				got := f.received.Load()
				if got == last && f.idle != nil {
					f.idle.end()
				}
				e.meter.add(got-last+e.brought(), now.Sub(lastAt))
				last, lastAt = got, now
				e.report(e.progress(begin+got, got, s))
				e.divide(now, begin+got, got, s, f.starved.Load())
				if rate, stalled := floor.add(now, got, f.starved.Load()); stalled {
					cancel(newError(transient, "stalled", nil, "%s: stalled: %s over %v, the floor is %s", s.name,
						rateString(rate), e.req.Floor.Window, rateString(e.req.Floor.rate())))
					return
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

// progress tells how far the download is; under is how many bytes of the body that s is sending came so far, and s is
// nil where none was asked.
func (e *engine) progress(bytes, under int64, s *source) Progress {
	bytes += e.crew.stored(bytes)
	p := Progress{What: e.req.What, Bytes: bytes, Total: e.size, Rate: e.meter.value(), ETA: -1, Retries: e.stats.Retries,
		Elapsed: time.Since(e.start), Mirrors: make([]Mirror, len(e.sources))}
	if s != nil {
		p.Mirror = s.name
	}
	if p.Total >= 0 && p.Rate > 0 {
		p.ETA = time.Duration(float64(p.Total-bytes) / p.Rate * float64(time.Second))
	}
	for i, m := range e.sources {
		if p.Mirrors[i] = m.state(); m == s {
			p.Mirrors[i].Bytes += under
		}
	}
	return p
}

func (e *engine) report(p Progress) {
	if e.req.Progress != nil {
		e.req.Progress(p)
	}
}
