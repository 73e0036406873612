// Package poster sends boot reports to a server.
package poster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/stage1/fault"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

const (
	leaving = 2 * time.Second // for a report under way when the menu has been left for good
	tries   = 8               // with half a minute of pauses between them
)

// A Poster sends reports to one URL. Failure may be called of a nil one, which
// sends none.
type Poster struct {
	URL   string
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // nil: the system's
	Token string         // for that server; "": none
	Agent string         // this program and its version
	Log   *slog.Logger
	// Quote signs a nonce of the server's, which is asked for one; nil: reports
	// go without.
	Quote func(ctx context.Context, nonce []byte) (*report.Quote, error)
}

// mostNonce is how long one may be, in bytes.
const mostNonce = 64

// A refusal is an answer that another try will not change.
type refusal struct{ status string }

func (r refusal) Error() string { return "the server answered " + r.status }

// Post sends r, again and later with each failure, until ctx ends.
func (p *Poster) Post(ctx context.Context, r report.Report) error {
	started := time.Now()
	var err error
	for n := range tries {
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
		r.Quote = p.quoted(ctx)
		var text bytes.Buffer
		if err := r.Encode(&text); err != nil {
			return err
		}
		if _, err = p.once(ctx, http.MethodPost, p.URL, text.Bytes()); err == nil {
			p.log().Info(fmt.Sprintf("sent to %s in %d ms", ref.Redacted(p.URL), time.Since(started).Milliseconds()))
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
	return fmt.Errorf("not sent to %s: %w", ref.Redacted(p.URL), err)
}

// quoted is what the TPM signs for this server; nil where the server gives no
// nonce, as one does that takes reports and no more.
func (p *Poster) quoted(ctx context.Context) *report.Quote {
	if p.Quote == nil {
		return nil
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil
	}
	text, err := p.once(ctx, http.MethodGet, u.JoinPath(report.NoncePath).String(), nil)
	var nonce []byte
	if err == nil {
		nonce, err = hex.DecodeString(strings.TrimSpace(string(text)))
	}
	if err == nil && (len(nonce) == 0 || len(nonce) > mostNonce) {
		err = fmt.Errorf("a nonce of %d bytes", len(nonce))
	}
	if err != nil {
		p.log().Debug(ref.Redacted(p.URL)+" gives no nonce, so that it goes without a quote", "err", err)
		return nil
	}
	q, err := p.Quote(ctx, nonce)
	if err != nil {
		p.log().Warn("it goes without a quote", "err", err)
		return nil
	}
	return q
}

// once asks the server on a connection of its own, which no other goroutine
// uses, so that nothing of it is left when ctx has ended.
func (p *Poster) once(ctx context.Context, method, to string, text []byte) ([]byte, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := p.Dial(ctx, "tcp", fetch.HostPort(u))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if u.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: p.Roots, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	request, err := http.NewRequest(method, to, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if text != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", p.Agent)
	if p.Token != "" {
		request.Header.Set("Authorization", "Bearer "+p.Token)
	} else if u.User != nil {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch code := answer.StatusCode; {
	case code/100 == 2:
		if method != http.MethodGet {
			return nil, nil // what is said besides may not end
		}
		return io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	return nil, refusal{answer.Status}
}

// Failure starts to send the report of a boot that is held up, while an
// operator is asked what to do. The function it returns ends that.
func (p *Poster) Failure(r report.Report) (end func(fault.Choice)) {
	if p == nil {
		return func(fault.Choice) {}
	}
	sending := step.InBackground(func(ctx context.Context) error {
		err := p.Post(ctx, r)
		if err != nil && ctx.Err() == nil {
			p.log().Warn(err.Error())
		}
		return err
	})
	return func(choice fault.Choice) {
		grace := leaving // what is under way may arrive
		if choice == fault.Retry || choice == fault.Continue {
			grace = 0
		}
		sending.StopAfter(grace)
	}
}

func (p *Poster) log() *slog.Logger { return p.Log.With("what", "report") }
