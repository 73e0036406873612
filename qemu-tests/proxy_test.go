package qemutests

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/qemu-tests/nsmachine"
)

// serveProxy is an HTTP proxy with a password in the LAN, which takes every
// name for the server at address. It returns its address and a function that
// tells what it was asked.
func serveProxy(t *testing.T, lan *nsmachine.LAN, address string) (proxy string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var log []string
	var tunnels sync.WaitGroup
	url := lan.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic am9lOmdlaGVpbQ==" { // joe:geheim
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		mu.Lock()
		log = append(log, r.Method+" "+r.Host)
		mu.Unlock()
		server, err := lan.Dial(t, address)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			server.Close()
			return
		}
		if r.Method == http.MethodConnect {
			io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		} else {
			r.Header.Del("Proxy-Authorization")
			r.Write(server)
		}
		tunnels.Go(func() { io.Copy(server, client); server.Close() })
		tunnels.Go(func() { io.Copy(client, server); client.Close() })
	}))
	t.Cleanup(tunnels.Wait)
	return url, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return log
	}
}

// The servers are known to a proxy alone: neither their names nor their
// addresses mean anything to the machine.
func TestProxy(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newAuthority(t, now)
	secure := ca.server(t, now.Add(-time.Hour), now.Add(time.Hour), net.IPv4(192, 0, 2, 7))
	for name, test := range map[string]struct {
		secure *tls.Config
		asked  string
		scenario
	}{
		"http":        {nil, "GET images.test", scenario{cmdline: "rootfs=http://images.test/image.squashfs rootfs.proxy=http://joe:geheim@{proxy}"}},
		"https":       {secure, "CONNECT 192.0.2.7:443", scenario{cmdline: "rootfs=https://192.0.2.7/image.squashfs rootfs.proxy=http://joe:geheim@{proxy}"}},
		"no password": {nil, "", scenario{cmdline: "rootfs=http://images.test/image.squashfs rootfs.proxy=http://{proxy}", ends: refused("http-407")}},
	} {
		var asked func() []string
		test.lan = &network{mirrors: []mirror{{tls: test.secure}}, before: func(p *played) {
			var proxy string
			proxy, asked = serveProxy(p.t, p.lan, p.mirrors[0].addr)
			p.others["proxy"] = strings.Trim(strings.TrimPrefix(proxy, "http://"), "/")
		}}
		test.files = map[string]string{"/etc/netstage/ca.pem": ca.pem}
		test.cmdline = "boot.fail_timeout=1 init={init} rootfs.sha256={sha256} " + test.cmdline
		test.shown = []string{" through 10.77.0.1:", "!geheim"}
		test.check = func(p *played) {
			if log := asked(); test.asked != "" && (len(log) == 0 || log[0] != test.asked) {
				p.t.Errorf("the proxy was asked %q", log)
			}
		}
		t.Run(name, test.run)
	}
}
