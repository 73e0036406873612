package mirror

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

const mostRedirects = 10

// newClient makes an HTTP/1.1 client: a second protocol would add a megabyte
// and gain nothing for one long body.
// Without secrets the way to registries goes without logins, too.
func newClient(c Config, d *dialer, secrets bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  c.Proxy,
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12, Time: c.Now},
		TLSHandshakeTimeout:    c.Timeouts.TLS << mostWaited, // a request has its own
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    c.Streams,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // ranges and digests are about the bytes as they are
		Protocols:              &protocols,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	t.OnProxyConnectResponse = proxyAnswer
	t.RegisterProtocol("tftp", tftpTransport{d})
	client := &http.Client{Transport: t, CheckRedirect: checkRedirect}
	if c.Transport != nil {
		client.Transport = c.Transport(t, secrets)
	}
	return client
}

// proxyAnswer checks what a proxy says to CONNECT, as statusFault does for a
// server.
func proxyAnswer(_ context.Context, proxy *url.URL, connect *http.Request, resp *http.Response) error {
	code := resp.StatusCode
	if code == http.StatusOK {
		return nil
	}
	scope := ThisMirror
	if passes(code) {
		scope = Transient
	}
	return NewFault(scope, fault.HTTP(code), nil, "%s: the proxy %s answers %d %s", connect.Host, proxy.Host, code, http.StatusText(code))
}

// checkRedirect bounds redirects and keeps https from falling to http.
func checkRedirect(next *http.Request, via []*http.Request) error {
	from := via[0].URL.Host
	if len(via) > mostRedirects {
		return NewFault(ThisMirror, fault.Redirect, nil, "%s: more than %d redirects, the last to %s", from, mostRedirects, ref.Redacted(next.URL.String()))
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return NewFault(ThisMirror, fault.Redirect, nil, "%s: redirect from https to %s refused", from, ref.Redacted(next.URL.String()))
	}
	if _, err := ref.ParseURL(next.URL.String()); err != nil || next.URL.Scheme == "tftp" {
		return NewFault(ThisMirror, fault.Redirect, err, "%s: redirect to %s refused", from, ref.Redacted(next.URL.String()))
	}
	// It would tell the query of a URL, which may be a secret.
	next.Header.Del("Referer")
	// net/http keeps it for other ports and for the names below this one.
	if next.URL.Host != from || next.URL.Scheme != via[0].URL.Scheme {
		next.Header.Del("Authorization")
	}
	return nil
}
