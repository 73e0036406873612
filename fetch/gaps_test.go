package fetch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/internal/mirror"
	"netstage/stage1/fault"
)

func TestRetryAfterADate(t *testing.T) {
	content := imageBytes(1000)
	asked := time.Now().Add(3 * time.Second).Truncate(time.Second)
	s := serve(t, content, faulty.Behaviour{Status: 503, RetryAfter: asked.UTC().Format(http.TimeFormat)})
	r, log := quick(t, content, s.URL("x"))
	mustGet(t, r, content)
	// Both dates are of whole seconds.
	if l := s.Log(); len(l) != 2 || l[1].At.Before(asked.Add(-time.Second)) {
		t.Errorf("asked not to come before %v\n%+v\n%s", asked, l, log)
	}
}

// TestImageThatGoesAway has a server lose the file between a drop and the
// resume.
func TestImageThatGoesAway(t *testing.T) {
	content := imageBytes(3 << 20)
	script := []faulty.Behaviour{{End: faulty.EndClose, Cut: 2 << 20}, {Status: 404, Times: -1}}
	gone := serve(t, content, script...)
	r, _ := quick(t, content, gone.URL("x"))
	mustFail(t, r, "http-404")

	gone, good := serve(t, content, script...), serve(t, content, faulty.Behaviour{Status: 503})
	r, _ = quick(t, content, gone.URL("x"), good.URL("x"))
	image := mustGet(t, r, content)
	if l := good.Log(); len(l) != 2 || l[1].Range != "bytes=2097152-" || image.Stats.Restarts != 0 {
		t.Errorf("%+v, %+v", l, image.Stats)
	}
}

// What a proxy itself answers is told apart from the server's answers.
func TestProxyThatRefuses(t *testing.T) {
	content := imageBytes(1000)
	for url, class := range map[string]string{"https://boot.example.test/x": "http-407", "http://boot.example.test/x": "http-407"} {
		proxy := serve(t, content, faulty.Behaviour{Status: 503}, faulty.Behaviour{Status: 407, Times: -1})
		r, log := quick(t, content, url)
		r.Proxy = throughProxy("http://joe:geheim@" + proxy.Addr())
		err := mustFail(t, r, class)
		if len(proxy.Log()) != 2 {
			t.Errorf("%s: %d requests, want another after the 503", url, len(proxy.Log()))
		}
		log.mustSay(t, "503 Service Unavailable")
		if text := fmt.Sprint(err, fault.TriedOf(err), err.Progress(), log); !strings.Contains(text, proxy.Addr()) || strings.Contains(text, "geheim") {
			t.Errorf("%s: %s", url, text)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r, _ := quick(t, content, "http://boot.example.test/x")
	r.Proxy = throughProxy("http://" + l.Addr().String())
	ctx, cancel := context.WithTimeout(soon(t), 200*time.Millisecond)
	defer cancel()
	if err := mustFailIn(t, ctx, r, "refused"); !strings.Contains(err.Error(), "boot.example.test through "+l.Addr().String()+": connection refused") {
		t.Error(err)
	}
}

func throughProxy(proxy string) func(*http.Request) (*url.URL, error) {
	return func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
}

// TestProxyForHTTPS goes through a proxy that only knows CONNECT, and asks for
// a password of its own.
func TestProxyForHTTPS(t *testing.T) {
	content := imageBytes(2 << 20)
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := newAuthority(t, from, to)
	s, err := faulty.ListenTLS("127.0.0.1:0", ca.serverConfig(t, from, to, "boot.example.test"), content, faulty.Behaviour{End: faulty.EndReset, Cut: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connects atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connects.Add(1)
			tunnel(t, c, s.Addr())
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	r, log := quick(t, content, "https://boot.example.test/x")
	r.Roots, r.Bearer = ca.pool, func(*url.URL) string { return "geheim" }
	r.Proxy = throughProxy("http://joe:pw@" + l.Addr().String())
	mustGet(t, r, content)
	if n := connects.Load(); n != 2 {
		t.Errorf("%d connections through the proxy\n%s", n, log)
	}
}

// tunnel serves one CONNECT to boot.example.test until either side ends.
func tunnel(t *testing.T, c net.Conn, addr string) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Error(err)
		return
	}
	if r.Method != http.MethodConnect || r.Host != "boot.example.test:443" || r.Header.Get("Authorization") != "" || r.Header.Get("Proxy-Authorization") == "" {
		t.Errorf("the proxy is asked %s %s, %v", r.Method, r.Host, r.Header)
		return
	}
	server, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(server, in)
	}()
	_, _ = io.Copy(c, server)
	c.Close()
	<-up
}

// TestRangeThatNoServerHas is the fault of this program, and no reason to ask
// again.
func TestRangeThatNoServerHas(t *testing.T) {
	s := serve(t, imageBytes(1000))
	r, _ := quick(t, nil, s.URL("x"))
	e, bad := newEngine(r)
	if bad != nil {
		t.Fatal(bad)
	}
	defer e.close()
	_, err := e.ask.Do(soon(t), e.mirrors[0], mirror.Part{First: 500, Last: 499})
	if f := mirror.Classify("x", err); f.Class != fault.Internal || f.Scope != mirror.Fatal || !strings.Contains(f.Text, "bytes 500 to 499") {
		t.Errorf("%+v", f)
	}
	if len(s.Log()) > 0 {
		t.Errorf("it was sent: %+v", s.Log())
	}
}
