package mirror

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"netstage/fetch/pace"
	"netstage/stage1/fault"
)

// Config is how mirrors are asked. All of it is given, but for Proxy, Roots,
// Bearer, Transport and Accept.
type Config struct {
	What          string       // what the file is called in messages
	Log           *slog.Logger // of lines about it
	Dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	Proxy         func(*http.Request) (*url.URL, error)
	Roots         *x509.CertPool
	Now           func() time.Time
	Bearer        func(*url.URL) string
	Transport     func(base http.RoundTripper, secrets bool) http.RoundTripper
	Accept        string
	UserAgent     string
	RetryAfterCap time.Duration
	Timeouts      pace.Timeouts
	Streams       int  // how many connections to a mirror are kept
	Verified      bool // wrong bytes will be found out, so that dates of certificates may be forgiven
}

// Requester asks mirrors for an image or parts of it. What it learns of a
// mirror stands in that.
type Requester struct {
	c      Config
	client *http.Client
	dialer *dialer
}

// NewRequester makes one. It is to be closed.
func NewRequester(c Config) *Requester {
	d := newDialer(c)
	return &Requester{c: c, client: newClient(c, d, true), dialer: d}
}

// Close ends what is under way, waits for it, and closes the connections that
// were for some mirrors alone.
func (q *Requester) Close(mirrors []*Mirror) {
	q.dialer.close()
	q.client.CloseIdleConnections()
	for _, m := range mirrors {
		if m.client != nil {
			m.client.CloseIdleConnections()
		}
	}
}

// Part is what a request asks for: the bytes First to Last, -1 for all that
// follow, if they are of a version.
type Part struct {
	First, Last int64
	Version     Validator
}

// Do asks a mirror for a part. It may be called by several goroutines at once.
func (q *Requester) Do(ctx context.Context, m *Mirror, p Part) (*http.Response, error) {
	if p.Last >= 0 && p.Last < p.First {
		// No server has such a part: asking again would never help.
		return nil, NewFault(Fatal, fault.Internal, nil, "the next request would be for the bytes %d to %d of the %s: a fault of this program", p.First, p.Last, q.c.What)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL.String(), nil)
	if err != nil {
		return nil, NewFault(ThisMirror, fault.BadURL, nil, "%s: not a URL", m.Name)
	}
	r.Header.Set("User-Agent", q.c.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	if q.c.Accept != "" {
		r.Header.Set("Accept", q.c.Accept)
	}
	if m.forgiven > 0 { // by whom, nobody knows: its certificate is out of date
		r.URL.User = nil
	} else if q.c.Bearer != nil && m.URL.User == nil {
		if token := q.c.Bearer(m.URL); token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
	if p.First > 0 || p.Last >= 0 {
		span := fmt.Sprintf("bytes=%d-", p.First)
		if p.Last >= 0 {
			span += fmt.Sprint(p.Last)
		}
		r.Header.Set("Range", span)
		if v := p.Version.IfRange(); v != "" {
			r.Header.Set("If-Range", v)
		}
	}
	q.c.Log.Debug(fmt.Sprintf("GET %s from byte %d", m.Location, p.First))
	client := q.client
	if m.client != nil {
		client = m.client
	}
	limits := pace.Timeouts{
		Dial: m.allowDial(q.c.Timeouts.Dial), TLS: m.Allow(q.c.Timeouts.TLS), Header: m.Allow(q.c.Timeouts.Header),
	}
	resp, err := withinTime(client, r, limits)
	if err == nil && resp.StatusCode/100 == 2 {
		m.badRedirects.Store(0)
	}
	return resp, q.later(m, err)
}

// later keeps what a server on the way to m's said of when to ask again.
func (q *Requester) later(m *Mirror, err error) error {
	var busy interface{ Header() http.Header }
	if !errors.As(err, &busy) {
		return err
	}
	f := Classify(m.Name, err)
	f.RetryAfter = parseRetryAfter(busy.Header(), q.c.Now(), q.c.RetryAfterCap)
	return f
}
