package netboot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netstage/debug/sentence"
)

// folder makes a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A buffer for logs, which servers write to meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// serve runs a server till the test ends; it returns its URL and access log.
func serve(t *testing.T, o Options) (string, *buffer) {
	t.Helper()
	log := &buffer{}
	o.Access, o.Log = log, slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log)))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		s.Close()
	})
	return server.URL, log
}

// get asks for a URL; headers are pairs of names and values.
func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestWholeFile(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"image.squashfs": "hsqs0123456789"})})
	response, body := get(t, url+"/image.squashfs")
	if response.StatusCode != 200 || body != "hsqs0123456789" || response.ContentLength != 14 {
		t.Errorf("%s, length %d: %q", response.Status, response.ContentLength, body)
	}
	for header, want := range map[string]string{"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"} {
		if got := response.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestRanges(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"file": "0123456789"})})
	for _, test := range []struct{ asked, status, body, content string }{
		{"bytes=4-", "206 Partial Content", "456789", "bytes 4-9/10"},
		{"bytes=2-3", "206 Partial Content", "23", "bytes 2-3/10"},
		{"bytes=-1", "206 Partial Content", "9", "bytes 9-9/10"},
		{"bytes=10-", "416 Requested Range Not Satisfiable", "", "bytes */10"},
	} {
		response, body := get(t, url+"/file", "Range", test.asked)
		if response.Status != test.status || response.Header.Get("Content-Range") != test.content ||
			test.body != "" && body != test.body {
			t.Errorf("%s: %s, %s, %q", test.asked, response.Status, response.Header.Get("Content-Range"), body)
		}
	}
}

func TestResumeOnlyOfTheSameFile(t *testing.T) {
	dir := folder(t, map[string]string{"file": "0123456789"})
	url, _ := serve(t, Options{Dir: dir})
	response, _ := get(t, url+"/file")
	tag := response.Header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		t.Fatalf("ETag %q is not strong", tag)
	}
	if response, body := get(t, url+"/file", "Range", "bytes=4-", "If-Range", tag); response.StatusCode != 206 || body != "456789" {
		t.Errorf("unchanged: %s %q", response.Status, body)
	}
	if response, _ := get(t, url+"/file", "If-None-Match", tag); response.StatusCode != 304 {
		t.Errorf("unchanged: %s", response.Status)
	}
	write(t, filepath.Join(dir, "new"), "abcdefghij")
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	if response, body := get(t, url+"/file", "Range", "bytes=4-", "If-Range", tag); response.StatusCode != 200 || body != "abcdefghij" {
		t.Errorf("replaced: %s %q", response.Status, body)
	}
}

func TestETagIsTheDigestWhileItIsFresh(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	dir := folder(t, map[string]string{"file": "x"})
	write(t, filepath.Join(dir, "file.sha256"), digest+"  file\n")
	url, _ := serve(t, Options{Dir: dir})
	if response, _ := get(t, url+"/file"); response.Header.Get("ETag") != `"sha256-`+digest+`"` {
		t.Errorf("ETag %s", response.Header.Get("ETag"))
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "file"), later, later); err != nil {
		t.Fatal(err)
	}
	if response, _ := get(t, url+"/file"); strings.Contains(response.Header.Get("ETag"), digest) {
		t.Error("a file newer than its digest is known by it")
	}
}

// raw sends a request line as it is and returns the status line.
func raw(t *testing.T, url, target string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", target)
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all, []byte("secret")) {
		t.Errorf("%s gives the secret away", target)
	}
	return strings.SplitN(string(all), "\r\n", 2)[0]
}

func TestNothingOutsideTheFolder(t *testing.T) {
	parent := t.TempDir()
	write(t, filepath.Join(parent, "secret"), "secret")
	write(t, filepath.Join(parent, "served", "file"), "fine")
	write(t, filepath.Join(parent, "served", ".git", "config"), "secret")
	write(t, filepath.Join(parent, "served", ".secret"), "secret")
	for link, target := range map[string]string{"out": "../secret", "absolute": filepath.Join(parent, "secret"), "inside": "file"} {
		if err := os.Symlink(target, filepath.Join(parent, "served", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(parent, "served", "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	url, log := serve(t, Options{Dir: filepath.Join(parent, "served")})
	for target, want := range map[string]string{
		"/file":                   "200",
		"/inside":                 "200",
		"/../secret":              "404",
		"/%2e%2e/secret":          "404",
		"/..%2fsecret":            "404",
		"//secret":                "404",
		"/file/../../secret":      "404",
		"/./file":                 "404",
		"/.secret":                "404",
		"/.git/config":            "404",
		"/out":                    "403",
		"/absolute":               "403",
		"/file/":                  "404",
		"/file/x":                 "404",
		"/fifo":                   "404",
		"/nothing":                "404",
		"/%00":                    "403",
		"http://other/%2e/secret": "404",
	} {
		if got := raw(t, url, target); !strings.HasPrefix(got, "HTTP/1.0 "+want) {
			t.Errorf("%q: %s, want %s", target, got, want)
		}
	}
	if !strings.Contains(log.String(), "escapes") {
		t.Errorf("the log does not say why a link is not followed:\n%s", log)
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"file": "x"})})
	response, err := http.Post(url+"/file", "text/plain", strings.NewReader("y"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 405 || response.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%s, Allow %q", response.Status, response.Header.Get("Allow"))
	}
}

func TestIndexNamesFilesButNotHiddenOnes(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"bzImage": "", ".hidden": "", "sub/x": ""}),
		Files: map[string]string{"extra": "/dev/null"}})
	if _, body := get(t, url+"/"); body != "boot.ipxe\nbzImage\nextra\nsub/\n" {
		t.Errorf("%q", body)
	}
}

func TestAccessLog(t *testing.T) {
	url, log := serve(t, Options{Dir: folder(t, map[string]string{"file": "0123456789"})})
	get(t, url+"/file", "Range", "bytes=4-")
	get(t, url+"/no%0athing")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines for 2 requests:\n%s", len(lines), log)
	}
	for i, want := range []string{`127.0.0.1 GET "/file" 206 6 bytes`, `127.0.0.1 GET "/no%0athing" 404 `} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("%q is missing in %s", want, lines[i])
		}
	}
	if !strings.HasSuffix(lines[0], `range "bytes=4-"`) {
		t.Errorf("the range is missing in %s", lines[0])
	}
}

// TestGracefulStop stops a server in the middle of a download.
func TestGracefulStop(t *testing.T) {
	for _, test := range []struct {
		name  string
		grace time.Duration
		whole bool
	}{{"waits", time.Minute, true}, {"not for ever", 50 * time.Millisecond, false}} {
		t.Run(test.name, func(t *testing.T) {
			const size = 32 << 20 // more than the sockets hold
			dir := t.TempDir()
			write(t, filepath.Join(dir, "file"), strings.Repeat("x", size))
			log := &buffer{}
			s, err := New(Options{Dir: dir, Grace: test.grace, Access: log, Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log)))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(ctx, l) }()

			response, err := http.Get("http://" + l.Addr().String() + "/file")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body := bufio.NewReader(response.Body)
			if _, err := body.ReadByte(); err != nil {
				t.Fatal(err)
			}
			stop()
			if !test.whole {
				if err := <-ended; err != nil {
					t.Errorf("Serve: %v", err)
				}
				ended <- nil
			}
			n, err := io.Copy(io.Discard, body)
			if (err == nil && n == size-1) != test.whole {
				t.Errorf("%d of %d bytes came, %v", n+1, size, err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
				t.Error("the server still listens")
			}
			if !test.whole && !strings.Contains(log.String(), "cut off, of 33554432 bytes") {
				t.Errorf("the access log does not tell of the cut:\n%s", log)
			}
		})
	}
}
