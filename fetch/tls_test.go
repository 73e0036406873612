package fetch

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/stage1/fault"
)

// authority is a CA that certifies servers for a span of time.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newAuthority(t *testing.T, from, to time.Time) authority {
	t.Helper()
	k := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, k, pool}
}

func (a authority) serverConfig(t *testing.T, from, to time.Time, names ...string) *tls.Config {
	t.Helper()
	k := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}}
}

func serveTLS(t *testing.T, c *tls.Config, content []byte, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.ListenTLS("127.0.0.1:0", c, content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dialTo leads every name to one server.
func dialTo(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

const secureURL = "https://boot.example.test/x"

func TestTLS(t *testing.T) {
	content := imageBytes(3 << 20)
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return from.AddDate(0, 6, 0) }
	ca := newAuthority(t, from.AddDate(-1, 0, 0), to.AddDate(9, 0, 0))
	good := ca.serverConfig(t, from, to, "boot.example.test")
	request := func(t *testing.T, s *faulty.Server, pin []byte) (Request, *story) {
		r, log := quick(t, pin, secureURL)
		r.Dial, r.Roots, r.Now = dialTo(s.Addr()), ca.pool, now
		return r, log
	}
	t.Run("with a pinned digest and without", func(t *testing.T) {
		for _, pin := range [][]byte{content, nil} {
			s := serveTLS(t, good, content, faulty.Behaviour{End: faulty.EndReset, Cut: 2 << 20})
			r, _ := request(t, s, pin)
			mustGet(t, r, content)
		}
	})
	for name, clock := range map[string]time.Time{"1970": time.Unix(0, 0), "expired": to.AddDate(3, 0, 0)} {
		t.Run(name+": refused without a pin, warned with one", func(t *testing.T) {
			s := serveTLS(t, good, content)
			r, _ := request(t, s, nil)
			r.Now = func() time.Time { return clock }
			mustFail(t, r, "tls-date")
			r, log := request(t, s, content)
			r.Now = func() time.Time { return clock }
			mustGet(t, r, content)
			log.mustSay(t, "WARN image: boot.example.test: certificate is valid from 2026-01-01 to 2027-01-01 and the clock says "+clock.UTC().Format(time.DateOnly))
			for _, secret := range []func(*Request){
				func(r *Request) { r.Bearer = func(*url.URL) string { return "geheim" } },
				func(r *Request) { r.Mirrors = mirrors("https://joe:geheim@boot.example.test/x") },
			} {
				s := serveTLS(t, good, content)
				r, _ := request(t, s, content)
				r.Now = func() time.Time { return clock }
				secret(&r)
				mustGet(t, r, content)
				for _, asked := range s.Log() {
					if asked.Auth != "" {
						t.Errorf("a secret for whom nobody vouches: %+v", asked)
					}
				}
			}
		})
	}
	t.Run("expired: several streams tell no secret either", func(t *testing.T) {
		content := imageBytes(5 << 20)
		s := serveTLS(t, good, content, slow()...)
		r, _ := divided(t, content, secureURL)
		r.Dial, r.Roots, r.Now = dialTo(s.Addr()), ca.pool, func() time.Time { return to.AddDate(3, 0, 0) }
		r.Bearer = func(*url.URL) string { return "geheim" }
		mustGet(t, r, content)
		if len(ranges(s)) == 0 {
			t.Error("there was one stream only")
		}
		for _, asked := range s.Log() {
			if asked.Auth != "" {
				t.Errorf("a secret for whom nobody vouches: %+v", asked)
			}
		}
	})
	t.Run("expired while parts are asked for: forgiven once, and forgotten with another certificate", func(t *testing.T) {
		clock := now()
		s := serveTLS(t, good, content)
		r, log := request(t, s, content)
		r.Size, r.Now = int64(len(content)), func() time.Time { return clock }
		r.Bearer = func(*url.URL) string { return "geheim" }
		parts, err := NewRanges(r)
		if err != nil {
			t.Fatal(err)
		}
		defer parts.Close()
		get := func() error {
			body, err := parts.Get(t.Context(), 0, 4096, 8191)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(io.Discard, body)
			return err
		}
		again := func(c *tls.Config) *faulty.Server {
			s.Close()
			next, err := faulty.ListenTLS(s.Addr(), c, content)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { next.Close() })
			return next
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		clock = to.AddDate(0, 0, 1)
		s = again(good)
		for range 3 {
			if err = get(); err != nil { // a connection that has gone, perhaps
				err = get()
			}
			if err != nil {
				t.Error(err)
			}
		}
		if n := strings.Count(log.String(), "dates are passed over"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
		for _, asked := range s.Log() {
			if asked.Auth != "" {
				t.Errorf("a secret for whom nobody vouches: %+v", asked)
			}
		}
		s = again(ca.serverConfig(t, to.Add(time.Hour), to.AddDate(1, 0, 0), "boot.example.test"))
		for range 3 {
			err = get()
		}
		if all := s.Log(); err != nil || len(all) == 0 || all[len(all)-1].Auth != "Bearer geheim" {
			t.Errorf("with another certificate: %v, %+v", err, all)
		}
	})
	t.Run("1970: an address instead of a name is checked as well", func(t *testing.T) {
		for name, ok := range map[string]bool{"127.0.0.1": true, "10.9.9.9": false, "boot.example.test": false} {
			s := serveTLS(t, ca.serverConfig(t, from, to, name), content)
			r, _ := request(t, s, content)
			r.Mirrors, r.Now = mirrors(s.URL("x")), func() time.Time { return time.Unix(0, 0) }
			if ok {
				mustGet(t, r, content)
			} else if err := mustFail(t, r, "tls"); !strings.Contains(err.Error(), "not for this host") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("1970: redirected to a server of other dates", func(t *testing.T) {
		target := serveTLS(t, ca.serverConfig(t, from.AddDate(0, 9, 0), to.AddDate(1, 0, 0), "127.0.0.1"), content)
		s := serveTLS(t, ca.serverConfig(t, from, to, "127.0.0.1"), content, faulty.Behaviour{Location: target.URL("y"), Times: -1})
		r, _ := request(t, s, content)
		r.Mirrors, r.Now = mirrors(s.URL("x")), func() time.Time { return time.Unix(0, 0) }
		r.Dial = nil
		mustGet(t, r, content)
	})
	t.Run("a pin forgives dates only", func(t *testing.T) {
		for name, c := range map[string]struct {
			config *tls.Config
			says   string
		}{
			"other name":      {ca.serverConfig(t, from, to, "other.example.test"), "not for this host"},
			"other authority": {newAuthority(t, from, to).serverConfig(t, from, to, "boot.example.test"), "not from a trusted authority"},
		} {
			for _, clock := range []time.Time{now(), time.Unix(0, 0)} {
				for _, pin := range [][]byte{content, nil} {
					s := serveTLS(t, c.config, content)
					r, _ := request(t, s, pin)
					r.Now = func() time.Time { return clock }
					_, err := Get(soon(t), r)
					e, ok := err.(*Error)
					if !ok || !strings.HasPrefix(string(fault.ClassOf(e)), "tls") || !e.Permanent() {
						t.Fatalf("%s: %v", name, err)
					}
					if clock.Equal(now()) && (fault.ClassOf(e) != "tls" || !strings.Contains(e.Error(), c.says)) {
						t.Errorf("%s: class %s: %v", name, fault.ClassOf(e), e)
					}
				}
			}
		}
	})
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		old := good.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		s := serveTLS(t, old, content)
		r, _ := request(t, s, content)
		mustFail(t, r, "tls")
	})
	t.Run("plain HTTP where TLS is expected", func(t *testing.T) {
		s := serve(t, content)
		r, _ := request(t, s, content)
		mustFail(t, r, "tls")
	})
	t.Run("https never falls to http", func(t *testing.T) {
		plain := serve(t, content)
		s := serveTLS(t, good, content, faulty.Behaviour{Location: plain.URL("x"), Times: -1})
		r, _ := request(t, s, content)
		err := mustFail(t, r, "redirect")
		if !strings.Contains(err.Error(), "from https to http://") || len(plain.Log()) != 0 {
			t.Errorf("%v, %d plain requests", err, len(plain.Log()))
		}
	})
	t.Run("handshake that never ends", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		r, log := quick(t, content, secureURL)
		r.Dial, r.Timeouts.TLS = dialTo(l.Addr().String()), 100*time.Millisecond
		ctx, cancel := context.WithTimeout(soon(t), 400*time.Millisecond)
		defer cancel()
		mustFailIn(t, ctx, r, "timeout")
		log.mustSay(t, "no TLS handshake in time")
	})
}
