package qemutests

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
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
	v := vouch(t)
	now := time.Now()
	ca := newAuthority(t, now)
	file := filepath.Join(v.dir, "ca.pem")
	writeFile(t, file, ca.pem)
	config := ca.server(t, now.Add(-time.Hour), now.Add(time.Hour), net.IPv4(192, 0, 2, 7))
	for name, test := range map[string]struct {
		secure          bool
		login, url, ask string
		fails           string
	}{
		"http":        {false, "joe:geheim@", "http://images.test/image.squashfs", "GET images.test", ""},
		"https":       {true, "joe:geheim@", "https://192.0.2.7/image.squashfs", "CONNECT 192.0.2.7:443", ""},
		"no password": {false, "", "http://images.test/image.squashfs", "", "http-407"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			secure := config
			if !test.secure {
				secure = nil
			}
			proxy, asked := serveProxy(t, lan, v.serve(t, lan, secure).Addr())
			m := boot(t, nsmachine.Config{LAN: lan, Files: map[string]string{"/etc/netstage/ca.pem": file},
				Cmdline: "boot.fail_timeout=1 init=" + system.Init + " rootfs.sha256=" + v.sha256 + " rootfs=" + test.url + " rootfs.proxy=" + "http://" + test.login + proxy[len("http://"):]})
			expectVerdict(t, m, test.fails, []string{" through 10.77.0.1:", "!geheim"})
			if log := asked(); test.ask != "" && (len(log) == 0 || log[0] != test.ask) {
				t.Errorf("the proxy was asked %q", log)
			}
		})
	}
}
