package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// scope says how far a failure reaches.
type scope int

const (
	transient scope = iota // worth another try, on this mirror too
	mirror                 // this mirror is of no use any more
	fatal                  // no mirror can help
)

// Error is a failure of a download that an operator sees. Its text is one line.
type Error struct {
	class string
	text  string
	err   error
	tried []string
	state Progress

	scope      scope
	retryAfter time.Duration // what the server asked for; 0: nothing
}

// Error returns the cause in one line, without credentials.
func (e *Error) Error() string { return e.text }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

// Class is the stable name of the failure: refused, dns, no-route, timeout, reset, short, stalled, tls, tls-date,
// http-NNN, tftp, redirect, bad-range, encoding, mismatch, no-memory, no-space, store, bad-url, protocol, cancelled.
func (e *Error) Class() string { return e.class }

// Tried lists the last attempts with their times, in seconds since the download began, newest last.
func (e *Error) Tried() []string { return e.tried }

// Progress is how far the download was, with the state of every mirror.
func (e *Error) Progress() Progress { return e.state }

// Permanent reports whether another try cannot help.
func (e *Error) Permanent() bool { return e.scope != transient }

func newError(s scope, class string, cause error, format string, args ...any) *Error {
	return &Error{class: class, text: oneLine(fmt.Sprintf(format, args...)), err: cause, scope: s}
}

// oneLine keeps what a server sent from breaking the console.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// classify turns an error of net/http, TLS or a socket into an Error about one mirror.
func classify(name string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var dns *net.DNSError
	var op *net.OpError
	var netErr net.Error
	switch {
	case errors.As(err, &dns):
		return newError(transient, "dns", err, "%s: cannot resolve %s: %s", name, dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return newError(transient, "refused", err, "%s: connection refused", name)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL),
		errors.Is(err, syscall.ENETDOWN):
		return newError(transient, "no-route", err, "%s: no route to the host: %s", name, rootCause(err))
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return newError(transient, "reset", err, "%s: connection reset", name)
	case errors.Is(err, context.Canceled):
		return newError(transient, "cancelled", err, "%s: cancelled", name)
	}
	if e := classifyTLS(name, err); e != nil {
		return e
	}
	switch {
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		what := "no answer in time"
		if errors.As(err, &op) && op.Op == "dial" {
			what = "no connection in time"
		} else if strings.Contains(err.Error(), "TLS handshake") {
			what = "no TLS handshake in time"
		}
		return newError(transient, "timeout", err, "%s: %s", name, what)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return newError(transient, "short", err, "%s: connection closed early", name)
	}
	// Malformed answers: a proxy or server may be restarting, so this is worth another try.
	return newError(transient, "protocol", err, "%s: %s", name, rootCause(err))
}

func classifyTLS(name string, err error) *Error {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return newError(mirror, "tls-date", err, "%s: certificate: %s (wrong clock? pin the image with a digest and dates only warn)",
			name, invalid.Error())
	case errors.As(err, &host):
		return newError(mirror, "tls", err, "%s: certificate is not for this host: %s", name, host.Error())
	case errors.As(err, &unknown), errors.As(err, &roots):
		return newError(mirror, "tls", err, "%s: certificate is not from a trusted authority: %s", name, rootCause(err))
	case errors.As(err, &invalid), errors.As(err, &verify):
		return newError(mirror, "tls", err, "%s: certificate: %s", name, rootCause(err))
	case errors.As(err, &record):
		return newError(mirror, "tls", err, "%s: no TLS server there: %s", name, record.Msg)
	case errors.As(err, &alert):
		return newError(mirror, "tls", err, "%s: TLS refused: %s", name, alert.Error())
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return newError(mirror, "tls", err, "%s: no TLS server there: it speaks plain HTTP", name)
	case strings.Contains(err.Error(), "tls: "):
		return newError(mirror, "tls", err, "%s: %s", name, rootCause(err))
	}
	return nil
}

// rootCause is the innermost single error's text: the outer ones repeat the URL, which may hold credentials.
func rootCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
