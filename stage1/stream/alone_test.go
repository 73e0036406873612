package stream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/netup/lease"
)

// ownRootEnv has a holder leave what it was started in, as in a boot.
const ownRootEnv = "NETSTAGE_TEST_OWN_ROOT"

// leaveWithLibraries is leaveInitramfs for this program, which is not static.
func leaveWithLibraries() error {
	files := map[string][]byte{}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 6 && strings.Contains(fields[5], ".so") {
			if files[fields[5]], err = os.ReadFile(fields[5]); err != nil {
				return err
			}
		}
	}
	if program, err := elf.Open("/proc/self/exe"); err == nil {
		for _, part := range program.Progs {
			if part.Type == elf.PT_INTERP {
				name, _ := io.ReadAll(part.Open())
				path := strings.TrimRight(string(name), "\x00")
				if files[path], err = os.ReadFile(path); err != nil {
					return err
				}
			}
		}
		program.Close()
	}
	if err := leaveInitramfs(); err != nil {
		return err
	}
	made := map[string]bool{}
	for name, content := range files {
		dir := filepath.Dir(name)
		if !made[dir] {
			made[dir] = true
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
				return err
			}
		}
		if err := os.WriteFile(name, content, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// authority has a certificate for images.test, and its own in PEM.
func authority(t *testing.T) (server tls.Certificate, ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "images.test"}, DNSNames: []string{"images.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serveNames runs dnsmasq, which has one name, until the test or what it
// returns ends it.
func serveNames(t *testing.T, at, name, address string) (end func()) {
	t.Helper()
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		t.Skip("needs dnsmasq (apt-get install dnsmasq-base)")
	}
	cmd := exec.Command(program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file=",
		"--user=root", "--listen-address="+at, "--address=/"+name+"/"+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", net.JoinHostPort(at, "53")); err == nil {
			c.Close()
			return end
		}
		if time.Now().After(limit) {
			t.Fatal("dnsmasq does not answer")
		}
	}
}

// With nothing of the initramfs left the worker finds a name, trusts an
// authority and logs in: also when the token that it had is taken no more, when
// the name means another address, and when it is another worker. A mirror that
// has the image no more is left.
func TestNothingOfTheInitramfsIsNeeded(t *testing.T) {
	t.Setenv(ownRootEnv, "yes")
	t.Cleanup(func() { os.Remove(ownRoot) })
	p := newProcesses(t, 4000)
	var epoch, tokens, moved atomic.Int64
	var origin string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := fmt.Sprintf("t%d", epoch.Load())
		switch user, password, _ := r.BasicAuth(); {
		case r.URL.Path == "/token" && user == "boot" && password == "secret":
			tokens.Add(1)
			fmt.Fprintf(w, `{"token": %q}`, now)
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/v2/web/blobs/x":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer "+now:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+origin+`/token",service="x",scope="repository:web:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(p.image)))
		}
	})
	certificate, ca := authority(t)
	serve := func(address string, h http.Handler) *httptest.Server {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		s.StartTLS()
		return s
	}
	before := serve("127.0.0.1:0", handler)
	defer before.Close()
	_, port, _ := net.SplitHostPort(before.Listener.Addr().String())
	origin = "https://images.test:" + port
	resolver := fmt.Sprintf("127.%d.%d.%d", 53+mathrand.N(100), mathrand.N(256), 1+mathrand.N(250))
	endNames := serveNames(t, resolver, "images.test", "127.0.0.1")
	p.start(spec{
		URLs: []string{origin + "/v2/gone/blobs/x", origin + "/v2/web/blobs/x"}, Artifacts: []string{"oci://images.test:" + port + "/web:1"},
		Logins: []byte(`{"auths": {"` + origin + `": {"username": "boot", "password": "secret"}}}`),
		CA:     ca, Lease: lease.Lease{DNS: []netip.Addr{netip.MustParseAddr(resolver)}},
	})
	cookie := uint64(0)
	read := func(what string) {
		t.Helper()
		for range 5 {
			cookie++
			off := int64(cookie*1013%4000) * testBlock // far from each other: nothing is read ahead
			p.ask(cookie, off, testBlock)
			p.hear(cookie, off, testBlock)
		}
		t.Logf("%s: %d tokens", what, tokens.Load())
	}
	read("at first")
	epoch.Add(1)
	read("with another token")
	if tokens.Load() < 2 {
		t.Errorf("%d tokens were given", tokens.Load())
	}
	before.CloseClientConnections()
	before.Close()
	endNames()
	serveNames(t, resolver, "images.test", "127.9.9.9")
	after := serve("127.9.9.9:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { moved.Add(1); handler(w, r) }))
	defer after.Close()
	read("elsewhere")
	if moved.Load() == 0 {
		t.Error("the name's new address was not asked")
	}
	if root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", p.worker())); err != nil || root != "/" {
		t.Errorf("the worker's root is %q, %v", root, err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/etc", p.worker())); !os.IsNotExist(err) {
		t.Errorf("the worker has an /etc: %v", err)
	}
	if err := unix.Kill(p.worker(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	read("by another worker")
}

// What a stream brings comes by the cache, which is passed over when it is
// away.
func TestTheWorkerAsksTheCache(t *testing.T) {
	p := newProcesses(t, 400)
	var cached, direct atomic.Int64
	serve := func(n *atomic.Int64, path string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1); !strings.HasSuffix(r.URL.Path, path) {
				http.NotFound(w, r)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(p.image)))
		}))
		t.Cleanup(s.Close)
		return s
	}
	server := serve(&direct, "/image")
	cache := serve(&cached, "/rack/http/"+strings.TrimPrefix(server.URL, "http://")+"/image")
	p.start(spec{URLs: []string{server.URL + "/image"}, Cache: cache.URL + "/rack"})
	p.ask(1, 0, testBlock)
	p.hear(1, 0, testBlock)
	if cached.Load() == 0 || direct.Load() != 0 {
		t.Errorf("the cache was asked %d times, the server %d times", cached.Load(), direct.Load())
	}
	cache.CloseClientConnections()
	cache.Close()
	p.ask(2, 200*testBlock, testBlock)
	p.hear(2, 200*testBlock, testBlock)
	if direct.Load() == 0 {
		t.Error("the server was not asked")
	}
}
