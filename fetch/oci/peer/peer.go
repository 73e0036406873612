// Package peer runs Debian's docker-registry, and a token server beside it, for
// tests of whoever asks registries.
package peer

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options say how the registry is to be asked.
type Options struct {
	Addr   string  // to listen on; empty: a free port of 127.0.0.1
	TLS    bool    // by https, with httptest's certificate
	Login  string  // USER:PASSWORD, by Basic
	Tokens *Tokens // by Bearer
	Dir    string  // where it keeps what is pushed; empty: a folder of the test's
}

// A Registry is one that runs.
type Registry struct {
	Host string // and port
	URL  string // without a slash at the end
	CA   string // file with its certificate in PEM, of one with TLS
	Dir  string

	login  string
	tokens *Tokens
}

// Start runs a registry until the test ends.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("needs docker-registry (apt-get install docker-registry)")
	}
	work := t.TempDir()
	r := &Registry{Dir: o.Dir, login: o.Login, tokens: o.Tokens}
	if r.Dir == "" {
		r.Dir = filepath.Join(work, "data")
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	scheme, https, auth := "http://", "", ""
	write := func(name string, text []byte) string {
		file := filepath.Join(work, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if o.TLS {
		certificate, key := pair(t)
		r.CA, scheme = write("cert.pem", certificate), "https://"
		https = fmt.Sprintf("  tls: {certificate: %q, key: %q}\n", r.CA, write("key.pem", key))
	}
	if user, password, ok := strings.Cut(o.Login, ":"); ok {
		out, err := exec.Command("htpasswd", "-nbB", "-C", "4", user, password).Output()
		if err != nil {
			t.Skip("needs htpasswd (apt-get install apache2-utils)")
		}
		auth = fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %q}\n", write("htpasswd", out))
	}
	if o.Tokens != nil {
		auth = fmt.Sprintf("auth:\n  token: {realm: %q, service: %s, issuer: %s, rootcertbundle: %q}\n", o.Tokens.URL(), service, issuer, write("tokens.pem", o.Tokens.Certificate()))
	}
	config := write("config.yml", fmt.Appendf(nil, "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: true}\nhttp:\n  addr: %q\n%s%s",
		r.Dir, o.Addr, https, auth))
	cmd := exec.Command(program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	found, started, ended := make(chan string, 1), make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// Pdeathsig is about the thread, which others may end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err != nil {
			return
		}
		found <- listening(log)
		_, _ = io.Copy(io.Discard, log)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	select {
	case r.Host = <-found:
	case <-time.After(time.Minute):
	}
	if r.Host == "" || strings.Contains(r.Host, " ") {
		t.Fatalf("docker-registry does not listen: %s", r.Host)
	}
	r.URL = scheme + r.Host
	return r
}

var listens = regexp.MustCompile(`msg="listening on ([^ ",]+)`)

// listening reads the registry's log until it says where it listens; else it
// returns all of it.
func listening(log io.Reader) string {
	var all strings.Builder
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := listens.FindStringSubmatch(lines.Text()); m != nil {
			return m[1]
		}
		all.WriteString(lines.Text() + " \n")
	}
	return all.String() + " "
}

// pair is a certificate for 127.0.0.1, and its key.
func pair(t testing.TB) (certificate, key []byte) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	c := server.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, one := range c.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: one})
	}
	return b.Bytes(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Roots has the registry's certificate.
func (r *Registry) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(r.CA)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s: %v", r.CA, err)
	}
	return pool
}

// Proxy passes requests on to it.
func (r *Registry) Proxy(t testing.TB) *httputil.ReverseProxy {
	t.Helper()
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return httputil.NewSingleHostReverseProxy(to)
}
