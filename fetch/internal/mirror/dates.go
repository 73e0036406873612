package mirror

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// mostForgiven bounds how many certificates, of a mirror and of where it
// redirects to, may be out of date.
const mostForgiven = 4

// ForgiveDates makes m be asked again as if it were a day on which its
// certificates were valid, if their dates are all that err complains of and the
// image is verified anyway: a machine without a battery wakes in 1970, and the
// digest doesn't care. Names and authorities are checked by crypto/tls as ever.
func (q *Requester) ForgiveDates(m *Mirror, err error) bool {
	var invalid x509.CertificateInvalidError
	var failed *tls.CertificateVerificationError
	if !q.c.Verified || m.forgiven == mostForgiven || !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 ||
		!errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return false
	}
	leaf := failed.UnverifiedCertificates[0]
	m.forgiven++
	m.chains = append(m.chains, failed.UnverifiedCertificates...)
	at := commonTime(m.chains)
	c := q.c
	c.Now = func() time.Time { return at }
	if m.client != nil {
		m.client.CloseIdleConnections()
	}
	m.client = newClient(c, q.dialer, false)
	q.c.Log.With("mirror", m.Name).Warn(fmt.Sprintf("certificate is valid from %s to %s and the clock says %s: its dates are passed over, the %s itself is verified",
		day(leaf.NotBefore), day(leaf.NotAfter), day(q.c.Now()), q.c.What))
	return true
}

// Learn takes over whose dates were forgiven to own, a copy of m that was
// answered, or forgets it where own was not: its server may have another
// certificate by now, and may be told secrets again.
func (m *Mirror) Learn(own *Mirror, answered bool) {
	switch {
	case own.forgiven == 0 || answered && own.forgiven <= m.forgiven:
	case answered:
		m.client, m.chains, m.forgiven = own.client, own.chains, own.forgiven
	default:
		m.client, m.chains, m.forgiven = nil, nil, 0
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// commonTime is a moment at which all certificates were valid, if there is one.
// A certificate that shares no time with those before it is left out: a server
// may send some of no use.
func commonTime(chain []*x509.Certificate) time.Time {
	from, to := chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(to) || c.NotAfter.Before(from) {
			continue
		}
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	return from.Add(to.Sub(from) / 2)
}
