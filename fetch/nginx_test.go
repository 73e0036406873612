package fetch

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/fetch/faulty"
)

// startNginx serves dir with the given lines in its server block, and returns
// the URL of the directory.
func startNginx(t testing.TB, dir string, lines string) string {
	t.Helper()
	return nginxAt(t, nil, freeAddr(t), fmt.Sprintf("server { listen @ADDR@; root %s; %s }", dir, lines))
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// nginxAt starts an nginx at an address, of a namespace unless that is nil,
// with these lines in http {}, where @ADDR@ stands for it, and returns its URL.
func nginxAt(t testing.TB, where *link, addr, lines string) string {
	t.Helper()
	dial := new(net.Dialer).DialContext
	var within []string
	if where != nil {
		dial = where.dial
		within = []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), where.ns.Fd())}
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs nginx (apt-get install nginx-light)")
	}
	work := t.TempDir()
	conf := filepath.Join(work, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 1; user root; error_log stderr; pid %[1]s/pid;
events { worker_connections 256; }
http {
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  %[2]s
}`, work, strings.ReplaceAll(lines, "@ADDR@", addr))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// "-p" and "-e" keep it away from the system's own files.
	args := append(within, path, "-p", work, "-c", conf, "-e", "stderr")
	cmd := exec.Command(args[0], args[1:]...)
	if where == nil { // else the threads of a namespace end, and it with them
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for range 100 {
		if c, err := dial(t.Context(), "tcp", addr); err == nil {
			c.Close()
			return "http://" + addr + "/"
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nginx does not answer on %s", addr)
	return ""
}

func TestNginx(t *testing.T) {
	content := imageBytes(6 << 20)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.squashfs"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("plain", func(t *testing.T) {
		base := startNginx(t, dir, "")
		r, _ := quick(t, content, base+"image.squashfs")
		mustGet(t, r, content)
		r, _ = quick(t, content, base+"missing.squashfs")
		mustFail(t, r, "http-404")
	})
	t.Run("cut in the middle of the body", func(t *testing.T) {
		base := startNginx(t, dir, "limit_rate 4m;")
		other := startNginx(t, dir, "")
		r, log := quick(t, content, base+"image.squashfs", other+"image.squashfs")
		// The connection to the first server breaks after a part; the second
		// continues it.
		r.Dial = breakFirst(1 << 20)
		image := mustGet(t, r, content)
		if image.Stats.Requests != 2 || image.Stats.Restarts != 0 {
			t.Errorf("%+v\n%s", image.Stats, log)
		}
		log.mustSay(t, "resuming at ")
	})
	t.Run("changed between two ranges", func(t *testing.T) {
		base := startNginx(t, dir, "")
		other := imageBytes(7 << 20)[1<<20:]
		r, log := quick(t, other, base+"image.squashfs")
		dial, dials := breakFirst(1<<20), 0
		r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 2 {
				if err := os.WriteFile(filepath.Join(dir, "image.squashfs"), other, 0o644); err != nil {
					return nil, err
				}
				later := time.Now().Add(time.Hour)
				if err := os.Chtimes(filepath.Join(dir, "image.squashfs"), later, later); err != nil {
					return nil, err
				}
			}
			return dial(ctx, network, addr)
		}
		mustGet(t, r, other)
		log.mustSay(t, "starting over at ")
	})
}

// breakFirst is a dialer whose first connection ends after n bytes.
func breakFirst(n int) func(context.Context, string, string) (net.Conn, error) {
	first := true
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil || !first {
			return c, err
		}
		first = false
		return &faulty.Breaking{Conn: c, Left: n}, nil
	}
}
