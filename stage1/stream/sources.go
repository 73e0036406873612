package stream

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"time"

	"netstage/fetch"
	"netstage/fetch/oci"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/netup"
	"netstage/netup/lease"
)

// logIn has requests to registries seen to, in case one of them wants a login.
func (s *spec) logIn(r *fetch.Request) error {
	if len(s.Artifacts) == 0 {
		return nil
	}
	var logins oci.Credentials
	var err error
	if len(s.Logins) > 0 {
		if logins, err = oci.ParseCredentials(s.Logins); err != nil {
			return err
		}
	}
	if s.Proxy != "" { // as the boot has it
		logins = logins.Secure()
	}
	auth := oci.NewAuth(logins)
	for _, text := range s.Artifacts {
		l, err := ref.Parse(text)
		if err != nil {
			return err
		}
		auth.Add(l.Artifact())
	}
	r.Transport = auth.Transport
	return nil
}

// leaseNow is the lease that the machine has by now.
func (w *worker) leaseNow() lease.Lease { return *w.lease.Load() }

// mostAside bounds what a server may ask for while readers wait for it.
const mostAside = 30 * time.Second

func (w *worker) ranges() (*fetch.Ranges, error) {
	s := w.spec
	r := fetch.Request{
		Size: s.Size, Checked: true, What: "image", Log: w.plain, Dial: netup.DialBy(w.leaseNow), Bearer: func(u *url.URL) string { return s.Tokens[originOf(u)] },
		RetryAfterCap: mostAside, UserAgent: s.UserAgent, Seed: s.Seed, Timeouts: pace.Timeouts{}.Urgent(len(s.URLs)),
		// Readers have connections of their own; none is opened anew for each
		// of many small requests.
		Parallel: pace.Parallel{Streams: 2 * pace.Parallel{}.WithDefaults().Streams},
	}
	for _, raw := range s.URLs {
		l, err := ref.Parse(raw)
		if err != nil {
			return nil, err
		}
		r.Mirrors = append(r.Mirrors, l)
	}
	if s.Cache != "" {
		cache, err := ref.ParseURL(s.Cache)
		if err != nil {
			return nil, err
		}
		r.Cache, r.Timeouts = cache, pace.Timeouts{}.Urgent(2*len(s.URLs))
	}
	if err := s.logIn(&r); err != nil {
		return nil, err
	}
	if len(s.CA) > 0 {
		r.Roots = x509.NewCertPool()
		r.Roots.AppendCertsFromPEM(s.CA)
	}
	if s.Proxy != "" {
		u, err := url.Parse(s.Proxy)
		if err != nil {
			return nil, errors.New("the proxy is no URL")
		}
		r.Proxy = http.ProxyURL(u)
	}
	return fetch.NewRanges(r)
}
