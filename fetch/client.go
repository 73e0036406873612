package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"netstage/fetch/ref"
)

const mostRedirects = 10

// newClient makes an HTTP/1.1 client: a second protocol would add a megabyte and gain nothing for one long body.
func newClient(req Request, d *dialer) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  req.Proxy,
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{RootCAs: req.Roots, MinVersion: tls.VersionTLS12, Time: req.Now},
		TLSHandshakeTimeout:    req.Timeouts.TLS,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    req.Parallel.Streams,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // ranges and digests are about the bytes as they are
		Protocols:              &protocols,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	t.OnProxyConnectResponse = proxyAnswer
	t.RegisterProtocol("tftp", tftpTransport{d})
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// proxyAnswer judges what a proxy says to CONNECT, as statusError does for a server.
func proxyAnswer(_ context.Context, proxy *url.URL, connect *http.Request, resp *http.Response) error {
	code := resp.StatusCode
	if code == http.StatusOK {
		return nil
	}
	scope := mirror
	if passes(code) {
		scope = transient
	}
	return newError(scope, fmt.Sprintf("http-%d", code), nil, "%s: the proxy %s answers %d %s", connect.Host, proxy.Host, code, http.StatusText(code))
}

// dialer is the caller's way to dial, with a timeout. A dial may outlive the request it was for, so it is owned here.
type dialer struct {
	req     Request
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	life    context.Context
	end     context.CancelFunc
}

func newDialer(req Request) *dialer {
	d := &dialer{req: req}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// close ends every dial under way and waits for it.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.running.Wait()
}

func (d *dialer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.running.Add(1)
	}
	return !d.closed
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !d.begin() {
		return nil, context.Canceled
	}
	defer d.running.Done()
	ctx, cancel := context.WithTimeout(ctx, d.req.Timeouts.Dial)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	d.req.Log.Debug(d.req.What + ": dial " + addr)
	c, err := d.req.Dial(ctx, network, addr)
	var dns *net.DNSError
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.As(err, &dns) {
		// The caller's dialer may report its own way; the class is the same.
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
	}
	return c, err
}

// checkRedirect bounds redirects and keeps https from falling to http.
func checkRedirect(next *http.Request, via []*http.Request) error {
	from := via[0].URL.Host
	if len(via) > mostRedirects {
		return newError(mirror, "redirect", nil, "%s: more than %d redirects, the last to %s", from, mostRedirects, ref.Redacted(next.URL.String()))
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return newError(mirror, "redirect", nil, "%s: redirect from https to %s refused", from, ref.Redacted(next.URL.String()))
	}
	if _, err := ref.ParseURL(next.URL.String()); err != nil || next.URL.Scheme == "tftp" {
		return newError(mirror, "redirect", err, "%s: redirect to %s refused", from, ref.Redacted(next.URL.String()))
	}
	// It would tell the query of a URL, which may be a secret.
	next.Header.Del("Referer")
	// net/http keeps it for other ports and for the names below this one.
	if next.URL.Host != from || next.URL.Scheme != via[0].URL.Scheme {
		next.Header.Del("Authorization")
	}
	return nil
}
