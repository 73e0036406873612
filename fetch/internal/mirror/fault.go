package mirror

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

	"netstage/stage1/fault"
)

// Scope says how far a fault reaches.
type Scope int

// The scopes.
const (
	Transient  Scope = iota // worth another try, on this mirror too
	ThisMirror              // this mirror is of no use any more
	Fatal                   // no mirror can help
)

type failure = fault.Error

// Fault is a failure of a mirror, or of a download, that an operator sees. Its
// text is one line, without credentials.
type Fault struct {
	failure
	Scope      Scope
	RetryAfter time.Duration // what the server asked for; 0: nothing
}

// Unwrap returns the error with the class.
func (f *Fault) Unwrap() error { return &f.failure }

// NewFault makes one; cause may be nil.
func NewFault(s Scope, class fault.Class, cause error, format string, args ...any) *Fault {
	return &Fault{failure: failure{Class: class, Text: oneLine(fmt.Sprintf(format, args...)), Cause: cause}, Scope: s}
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

// Classify makes an error of net/http, TLS or a socket a fault of one mirror.
func Classify(name string, err error) *Fault {
	var own *Fault
	if errors.As(err, &own) {
		return own
	}
	var registry *fault.Error
	var dns *net.DNSError
	var op *net.OpError
	var netErr net.Error
	switch {
	case errors.As(err, &registry) && registry.Class == fault.RegistryAuth:
		return NewFault(ThisMirror, registry.Class, err, "%s", registry.Text)
	case registry != nil && registry.Class.HTTPStatus() != 0: // of a token server
		return NewFault(Transient, registry.Class, err, "%s", registry.Text)
	case errors.As(err, &dns):
		return NewFault(Transient, fault.DNS, err, "%s: cannot resolve %s: %s", name, dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return NewFault(Transient, fault.Refused, err, "%s: connection refused", name)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL),
		errors.Is(err, syscall.ENETDOWN):
		return NewFault(Transient, fault.NoRoute, err, "%s: no route to the host: %s", name, rootCause(err))
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return NewFault(Transient, fault.Reset, err, "%s: connection reset", name)
	case errors.Is(err, context.Canceled):
		return NewFault(Transient, fault.Cancelled, err, "%s: cancelled", name)
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
		return NewFault(Transient, fault.Timeout, err, "%s: %s", name, what)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return NewFault(Transient, fault.Short, err, "%s: connection closed early", name)
	}
	// Malformed answers: a proxy or server may be restarting, so this is worth
	// another try.
	return NewFault(Transient, fault.Protocol, err, "%s: %s", name, rootCause(err))
}

func classifyTLS(name string, err error) *Fault {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return NewFault(ThisMirror, fault.TLSDate, err, "%s: certificate: %s (wrong clock? pin the image with a digest and dates only warn)",
			name, invalid.Error())
	case errors.As(err, &host):
		return NewFault(ThisMirror, fault.TLS, err, "%s: certificate is not for this host: %s", name, host.Error())
	case errors.As(err, &unknown), errors.As(err, &roots):
		return NewFault(ThisMirror, fault.TLS, err, "%s: certificate is not from a trusted authority: %s", name, rootCause(err))
	case errors.As(err, &invalid), errors.As(err, &verify):
		return NewFault(ThisMirror, fault.TLS, err, "%s: certificate: %s", name, rootCause(err))
	case errors.As(err, &record):
		return NewFault(ThisMirror, fault.TLS, err, "%s: no TLS server there: %s", name, record.Msg)
	case errors.As(err, &alert):
		return NewFault(ThisMirror, fault.TLS, err, "%s: TLS refused: %s", name, alert.Error())
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return NewFault(ThisMirror, fault.TLS, err, "%s: no TLS server there: it speaks plain HTTP", name)
	case strings.Contains(err.Error(), "tls: "):
		return NewFault(ThisMirror, fault.TLS, err, "%s: %s", name, rootCause(err))
	}
	return nil
}

// rootCause is the innermost single error's text: the outer ones repeat the
// URL, which may hold credentials.
func rootCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// StoreFault is a failure to keep the image: no mirror can help.
func StoreFault(err error) *Fault {
	var own *Fault
	switch {
	case errors.As(err, &own):
		return own
	case fault.ClassOf(err) == fault.TooLarge:
		return NewFault(ThisMirror, fault.TooLarge, err, "%v", err)
	case errors.Is(err, syscall.ENOMEM):
		return NewFault(Fatal, fault.NoMemory, err, "the image does not fit: %v", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return NewFault(Fatal, fault.NoSpace, err, "the image does not fit: %v", err)
	}
	return NewFault(Fatal, fault.Store, err, "cannot keep the image: %v", err)
}
