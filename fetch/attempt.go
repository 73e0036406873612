package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// attempt asks m for what is missing and keeps what comes. Whole means that
// this is the image, verified; when it is not, and nothing went wrong either,
// several streams have what comes next.
func (e *engine) attempt(life context.Context, m *mirror.Mirror) (whole bool, err *mirror.Fault) {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	begun, received := time.Now(), e.history.stats.Received
	m.Asked()
	defer func() { m.Measure(e.history.stats.Received-received, time.Since(begun)) }()
	resp, a, err := e.request(ctx, m)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if a.Complete {
		e.image.size = a.Size
		err := e.image.checkWhole(m, a.Framed)
		return err == nil, err
	}
	if err := e.begin(life, m, resp, a); err != nil {
		return false, err
	}
	return e.copyBody(ctx, cancel, m, resp.Body, a)
}

// request sends the request and checks the response. A mirror whose image
// changed is asked once more, from the start.
func (e *engine) request(ctx context.Context, m *mirror.Mirror) (*http.Response, mirror.Answer, *mirror.Fault) {
	if why, must := e.image.mustRestart(m); must {
		e.restart(m, why)
	}
	for {
		expect := e.image.expects(m)
		part := mirror.Part{First: expect.Offset, Last: -1, Version: expect.Version}
		if part.First > 0 {
			part.Last = e.streams.pool.Gap(part.First)
		}
		e.history.stats.Requests++
		resp, err := e.ask.Do(ctx, m, part)
		if err != nil && e.ask.ForgiveDates(m, err) {
			continue
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, mirror.Answer{}, mirror.NewFault(mirror.Transient, fault.Reset, err, "%s: closed the connection without an answer", m.Name)
		}
		if err != nil {
			return nil, mirror.Answer{}, mirror.Classify(m.Name, err)
		}
		m.Answered(resp)
		a, bad := e.ask.Check(m, resp, expect)
		if bad == nil {
			return resp, a, nil
		}
		resp.Body.Close()
		if bad.Class != fault.Changed || e.image.offset == 0 {
			return nil, a, bad
		}
		e.restart(m, bad.Text)
		m.Version = mirror.Validator{}
	}
}

// begin makes ready for the body of an accepted answer.
func (e *engine) begin(life context.Context, m *mirror.Mirror, resp *http.Response, a mirror.Answer) *mirror.Fault {
	version := mirror.ValidatorOf(resp.Header)
	if !a.Part {
		// Its first byte is the image's first.
		if a.Restart == "" {
			a.Restart = "it sends no ranges"
		}
		e.restart(m, a.Restart)
		size := max(a.Size, e.image.size)
		if err := e.image.room.prepare(size); err != nil {
			if err.Scope == mirror.ThisMirror {
				err.Text = m.Name + ": " + err.Text
			}
			return err
		}
		e.image.version = version
		e.req.Log.Info(sizeText(size) + " from " + ref.Redacted(resp.Request.URL.String()))
	} else {
		_, differs := m.Version.Differs(version)
		e.image.mixed = e.image.mixed || e.image.from != m || differs || m.Version.IfRange() == ""
		e.req.Log.Info("resuming at "+e.image.position()+" from "+m.Name, "mirror", m.Name)
	}
	e.image.from = m
	m.Version = version
	if a.Size >= 0 {
		e.image.size = a.Size
	}
	if e.dividable(resp, a) {
		e.openStreams(life)
	}
	return nil
}

func sizeText(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return fmt.Sprintf("%d MiB", mib(n))
}
