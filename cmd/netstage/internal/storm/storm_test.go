package storm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/cmd/netstage/internal/storm"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch"
	"netstage/fetch/ref"
)

const down = 10 * time.Second

// Two hundred machines that start at once find nothing listening for ten
// seconds, then netstage serve: their retries are spread.
func TestServeThatComesUpLate(t *testing.T) {
	t.Parallel()
	dir, digest := imageDir(t)
	addr := freeAddress(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		time.Sleep(down)
		served <- serve(ctx, dir, addr)
	}()
	r := storm.Run(ctx, storm.Options{Clients: 200, Fetch: fetch.Request{Mirrors: mirrors("http://" + addr + "/image"), SHA256: digest}})
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	allSucceed(t, r)
	if peak, times := r.PeakRetries(); times > 3 {
		t.Errorf("%d retries in one second, %.1f times the mean: %+v", peak, times, r.PerSecond)
	}
}

// The same machines get power within ten seconds, from an nginx that answers
// 503 and Retry-After for the first ten: all their requests are spread.
func TestNginxThatFailsAtFirst(t *testing.T) {
	t.Parallel()
	dir, digest := imageDir(t)
	busy := filepath.Join(dir, "busy")
	if err := os.WriteFile(busy, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	url, requests := startNginx(t, dir, busy)
	healed := time.AfterFunc(down, func() { os.Remove(busy) })
	defer healed.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r := storm.Run(ctx, storm.Options{
		Clients: 200, Spread: down, Fetch: fetch.Request{Mirrors: mirrors(url + "image"), SHA256: digest, Seed: 1},
	})
	allSucceed(t, r)
	if peak, times := r.Peak(); times > 3 {
		t.Errorf("%d requests in one second, %.1f times the mean: %+v", peak, times, r.PerSecond)
	}
	if n := requests(); n != r.Requests || r.Retries < 200 {
		t.Errorf("%d requests counted, nginx saw %d; %d retries", r.Requests, n, r.Retries)
	}
}

func allSucceed(t *testing.T, r storm.Report) {
	t.Helper()
	if r.Succeeded != r.Clients || len(r.Failures) > 0 {
		t.Errorf("%d of %d clients have the image: %v", r.Succeeded, r.Clients, r.Failures)
	}
	starts := 0
	for _, s := range r.PerSecond {
		starts += s.Starts
	}
	if starts != r.Clients {
		t.Errorf("%d of %d clients asked", starts, r.Clients)
	}
	t.Logf("%d requests: %+v", r.Requests, r.PerSecond)
}

func imageDir(t *testing.T) (dir string, digest []byte) {
	t.Helper()
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return dir, sum[:]
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func serve(ctx context.Context, dir, addr string) error {
	s, err := netboot.New(netboot.Options{Dir: dir, Access: io.Discard, Log: slog.New(slog.DiscardHandler), Grace: time.Second})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// startNginx serves dir, or 503 while the file busy is there. The function
// tells how many requests nginx has logged.
func startNginx(t *testing.T, dir, busy string) (url string, requests func() int) {
	t.Helper()
	path := "/usr/sbin/nginx"
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs nginx (apt-get install nginx-light)")
	}
	addr, work := freeAddress(t), t.TempDir()
	conf, access := filepath.Join(work, "nginx.conf"), filepath.Join(work, "access.log")
	text := fmt.Sprintf(`daemon off; worker_processes 1; user root; error_log stderr; pid %[1]s/pid;
events { worker_connections 1024; }
http {
  access_log %[4]s;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen %[2]s backlog=1024; root %[3]s; if (-f %[5]s) { return 503; } add_header Retry-After 1 always; }
}`, work, addr, dir, access, busy)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-p", work, "-c", conf, "-e", "stderr")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for tries := 0; ; tries++ {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		if tries == 200 {
			t.Fatalf("nginx does not listen on %s: %v", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "http://" + addr + "/", func() int {
		// What is written last may not be there yet.
		time.Sleep(200 * time.Millisecond)
		log, err := os.ReadFile(access)
		if err != nil {
			t.Error(err)
		}
		return strings.Count(string(log), "GET /image")
	}
}

// mirrors are locations by their URLs or paths.
func mirrors(texts ...string) []ref.Location {
	var list []ref.Location
	for _, text := range texts {
		l, err := ref.Parse(text)
		if err != nil {
			panic(err)
		}
		list = append(list, l)
	}
	return list
}
