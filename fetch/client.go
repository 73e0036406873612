package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const mostRedirects = 10

// newClient makes an HTTP/1.1 client: a second protocol would add a megabyte and gain nothing for one long body.
func newClient(req Request) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  req.Proxy,
		DialContext:            dialer(req),
		TLSClientConfig:        tlsConfig(req),
		TLSHandshakeTimeout:    req.Timeouts.TLS,
		ResponseHeaderTimeout:  req.Timeouts.Header,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // ranges and digests are about the bytes as they are
		Protocols:              &protocols,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

func dialer(req Request) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, req.Timeouts.Dial)
		defer cancel()
		req.Log.Debug("image: dial " + addr)
		c, err := req.Dial(ctx, network, addr)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			// The caller's dialer may report its own way; the class is the same.
			return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
		}
		return c, err
	}
}

// checkRedirect bounds redirects and keeps https from falling to http.
func checkRedirect(next *http.Request, via []*http.Request) error {
	from := via[0].URL.Host
	if len(via) > mostRedirects {
		return newError(mirror, "redirect", nil, "%s: more than %d redirects, the last to %s", from, mostRedirects, Redacted(next.URL.String()))
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return newError(mirror, "redirect", nil, "%s: redirect from https to %s refused", from, Redacted(next.URL.String()))
	}
	if _, err := parseURL(next.URL.String()); err != nil {
		return newError(mirror, "redirect", err, "%s: redirect to %s refused", from, Redacted(next.URL.String()))
	}
	return nil
}

// tlsConfig verifies as crypto/tls does, except that dates only warn where a digest vouches for the image: a machine
// without a battery wakes in 1970, and the digest doesn't care.
func tlsConfig(req Request) *tls.Config {
	c := &tls.Config{RootCAs: req.Roots, MinVersion: tls.VersionTLS12, Time: req.Now}
	if !req.vouched() {
		return c
	}
	c.InsecureSkipVerify = true // VerifyConnection below does it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verifyChain(cs, req.Roots, req.Now())
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			return err
		}
		at, ok := commonTime(cs.PeerCertificates)
		if !ok || verifyChain(cs, req.Roots, at) != nil {
			return err
		}
		req.Log.Warn(fmt.Sprintf("image: %s: certificate is valid from %s to %s and the clock says %s: accepted, the image itself is verified",
			cs.ServerName, day(cs.PeerCertificates[0].NotBefore), day(cs.PeerCertificates[0].NotAfter), day(req.Now())))
		return nil
	}
	return c
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func verifyChain(cs tls.ConnectionState, roots *x509.CertPool, at time.Time) error {
	o := x509.VerifyOptions{Roots: roots, DNSName: cs.ServerName, CurrentTime: at, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(o)
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// commonTime is a moment at which all certificates of a chain were valid.
func commonTime(chain []*x509.Certificate) (time.Time, bool) {
	if len(chain) == 0 {
		return time.Time{}, false
	}
	from, to := chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		// A root that is sent along, or an intermediate of no use, must not spoil the leaf's span.
		if c.NotBefore.After(from) && c.NotBefore.Before(to) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) && c.NotAfter.After(from) {
			to = c.NotAfter
		}
	}
	return from.Add(to.Sub(from) / 2), !to.Before(from)
}
