package stage1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"netstage/fetch/ref"
	"netstage/netup"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/image"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// How long a report may keep the boot from going on.
const (
	postGood     = time.Second      // before stage 2
	postCheck    = 10 * time.Second // boot.check is about the report
	postLeaving  = 2 * time.Second  // when the menu has been left for good
	waitingAfter = 2 * time.Minute  // of a download, which goes on for ever
	waitingEvery = 10 * time.Minute // later
	postTries    = 8                // with half a minute of pauses between them
)

// A poster sends reports to one URL.
type poster struct {
	url   string
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	roots *x509.CertPool // nil: the system's
	agent string
	log   *slog.Logger
}

// A refusal is an answer that another try will not change.
type refusal struct{ status string }

func (r refusal) Error() string { return "the server answered " + r.status }

// post sends r, again and later with each failure, until ctx ends.
func (p *poster) post(ctx context.Context, r report.Report) error {
	var text bytes.Buffer
	if err := r.Encode(&text); err != nil {
		return err
	}
	started := time.Now()
	var err error
	for n := range postTries {
		if n > 0 {
			// Machines that fail together do not come back together.
			pause := time.Second << min(n, 5) / 4
			select {
			case <-time.After(pause/2 + rand.N(pause)):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		if err = p.once(ctx, text.Bytes()); err == nil {
			p.log.Info(fmt.Sprintf("report: sent to %s in %d ms", ref.Redacted(p.url), time.Since(started).Milliseconds()))
			return nil
		}
		if _, final := errors.AsType[refusal](err); final {
			break
		}
	}
	switch cause := context.Cause(ctx); {
	case err == nil:
		err = cause
	case cause != nil:
		err = fmt.Errorf("%w (%v)", cause, err)
	}
	return fmt.Errorf("report: not sent to %s: %w", ref.Redacted(p.url), err)
}

// once sends a report on a connection of its own, which no other goroutine
// uses, so that nothing of it is left when ctx has ended.
func (p *poster) once(ctx context.Context, text []byte) error {
	u, err := url.Parse(p.url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if u.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: p.roots, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	request, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", p.agent)
	if u.User != nil {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	switch code := answer.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return fmt.Errorf("the server answered %s", answer.Status)
	}
	return refusal{answer.Status}
}

// poster is the one for boot.report=, nil without it. dial is the network's of
// the boot; nil stands for what the kernel's routes and /etc/resolv.conf lead
// to.
func posterFor(c config.Config, log *slog.Logger, version string, network *netup.Network) *poster {
	if c.ReportTo == "" {
		return nil
	}
	roots, err := image.Authorities(c.CA, config.OwnCA)
	if err != nil {
		log.Warn(fmt.Sprintf("report: not sent: %v", err))
		return nil
	}
	p := &poster{c.ReportTo, new(net.Dialer).DialContext, roots, "netstage/" + version, log}
	if network != nil {
		p.dial = network.DialContext
	}
	return p
}

// postResult sends the report of a boot that is through.
func (b *Boot) postResult(ctx context.Context) {
	p := posterFor(b.config, b.Log, b.Version, b.network.Network)
	switch {
	case p == nil:
		return
	case b.network.Network == nil:
		b.Log.Warn("report: not sent: this boot needed no network")
		return
	}
	limit := postGood
	if b.config.Check {
		limit = postCheck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	if err := p.post(ctx, b.withLog(b.result())); err != nil {
		b.Log.Warn(err.Error())
	}
}

// postFailure starts to send the report of a boot that is held up, while an
// operator is asked what to do. The function it returns ends that.
func (p *poster) postFailure(r report.Report) (end func(fault.Choice)) {
	if p == nil {
		return func(fault.Choice) {}
	}
	sending := step.InBackground(func(ctx context.Context) error {
		err := p.post(ctx, r)
		if err != nil && ctx.Err() == nil {
			p.log.Warn(err.Error())
		}
		return err
	})
	return func(choice fault.Choice) {
		grace := postLeaving // what is under way may arrive
		if choice == fault.Retry || choice == fault.Continue {
			grace = 0
		}
		sending.StopAfter(grace)
	}
}

// tellOfWaiting reports a boot whose download does not come to an end: it tries
// for ever, and nobody would hear of it. The download's goroutine calls it.
func (b *Boot) tellOfWaiting(now time.Time) {
	if b.config.ReportTo == "" || now.Before(b.record.tellAt) {
		return
	}
	b.endWaiting()
	b.record.tellAt = now.Add(waitingEvery)
	b.record.waiting = posterFor(b.config, b.Log, b.Version, b.network.Network).postFailure(b.withLog(report.Running))
}

func (b *Boot) endWaiting() {
	if b.record.waiting != nil {
		b.record.waiting(fault.Retry)
		b.record.waiting = nil
	}
}
