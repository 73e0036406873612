package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/stage1/fault"
)

// imageBytes is incompressible and the same in every run.
func imageBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func serve(t *testing.T, content []byte, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.Listen("127.0.0.1:0", content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// quick is a request whose waits suit a test.
func quick(t *testing.T, content []byte, urls ...string) (Request, *story) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	log := &story{}
	dir := filepath.Join(t.TempDir(), "image")
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := Request{
		Mirrors: mirrors(urls...), Store: store.Memory(dir), Log: log.logger(), Seed: 1,
		Backoff:  pace.Backoff{Base: 5 * time.Millisecond, Cap: 50 * time.Millisecond},
		LowSpeed: pace.LowSpeedLimit{Bytes: 16 << 10, Window: 250 * time.Millisecond},
		Timeouts: pace.Timeouts{Dial: time.Second, TLS: time.Second, Header: 500 * time.Millisecond},
	}
	if content != nil {
		r.SHA256 = sum(content)
	}
	return r, log
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// mustGet fetches and compares every byte.
func mustGet(t *testing.T, r Request, content []byte) *Image {
	t.Helper()
	image, err := Get(soon(t), r)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	t.Cleanup(func() { _ = image.Close() })
	got, err := io.ReadAll(image.File)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("the image differs from what was served: %d bytes, want %d", len(got), len(content))
	}
	if image.Size != int64(len(content)) {
		t.Errorf("Size %d, want %d", image.Size, len(content))
	}
	return image
}

// mustFail fetches, expects an error of a class, and that nothing is left
// behind.
func mustFail(t *testing.T, r Request, class string) *Error {
	t.Helper()
	return mustFailIn(t, soon(t), r, class)
}

func mustFailIn(t *testing.T, ctx context.Context, r Request, class string) *Error {
	t.Helper()
	image, err := Get(ctx, r)
	if err == nil {
		_ = image.Close()
		t.Fatalf("Get succeeded, want class %s", class)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *Error", err, err)
	}
	if fault.ClassOf(e) != fault.Class(class) {
		t.Errorf("class %s, want %s: %v", fault.ClassOf(e), class, err)
	}
	if m, ok := r.Store.(*store.Tmpfs); ok {
		if isMountPoint(t, m.Dir) {
			t.Error("the tmpfs is still mounted after the failure")
		}
	}
	return e
}

func isMountPoint(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+dir+" ")
}

func TestGetIntoMemory(t *testing.T) {
	content := imageBytes(5<<20 + 123)
	s := serve(t, content)
	r, log := quick(t, content, s.URL("nix-store.squashfs"))
	r.UserAgent = "netstage/1.2"
	image := mustGet(t, r, content)
	if !bytes.Equal(image.SHA256[:], sum(content)) {
		t.Errorf("SHA256 %x", image.SHA256)
	}
	if image.Source != s.URL("nix-store.squashfs") {
		t.Errorf("Source %q", image.Source)
	}
	if _, err := image.File.WriteAt([]byte{1}, 0); err == nil {
		t.Error("the verified image can be written to")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(image.Path, &st); err != nil || int64(st.Type) != unix.TMPFS_MAGIC {
		t.Errorf("%s is not on a tmpfs: %v", image.Path, err)
	}
	if room := int64(st.Blocks) * st.Bsize; room != 6<<20 {
		t.Errorf("the tmpfs has room for %d bytes, want 6 MiB", room)
	}
	if ua := s.Log()[0].UserAgent; ua != "netstage/1.2" {
		t.Errorf("User-Agent %q", ua)
	}
	log.mustSay(t, "INFO image: 6 MiB from 127.0.0.1")
	log.mustSay(t, ", verified")
	dir := filepath.Dir(image.Path)
	if err := image.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if isMountPoint(t, dir) {
		t.Error("Close left the tmpfs mounted")
	}
}

func TestGetIntoFile(t *testing.T) {
	content := imageBytes(3 << 20)
	s := serve(t, content)
	r, _ := quick(t, content, s.URL("x"))
	path := filepath.Join(t.TempDir(), "out.squashfs")
	r.Store = store.File(path)
	image := mustGet(t, r, content)
	if err := image.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes, %v", path, len(got), err)
	}

	// A wrong image leaves neither the file nor its part.
	bad := filepath.Join(t.TempDir(), "bad.squashfs")
	r.Store, r.SHA256 = store.File(bad), sum([]byte("other"))
	mustFail(t, r, "mismatch")
	if left, _ := filepath.Glob(bad + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGetUnvouched(t *testing.T) {
	content := imageBytes(1 << 20)
	s := serve(t, content)
	r, log := quick(t, nil, s.URL("x"))
	mustGet(t, r, content)
	log.mustSay(t, "WARN image: 1 MiB from 127.0.0.1")
	log.mustSay(t, "nothing vouches for it")
}

func TestGetUsesDialAndNoProxyFromTheEnvironment(t *testing.T) {
	content := imageBytes(1000)
	s := serve(t, content)
	t.Setenv("http_proxy", "http://127.0.0.1:1/")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1/")
	r, _ := quick(t, content, "http://boot.example.test/x")
	var asked string
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked = addr
		return new(net.Dialer).DialContext(ctx, network, s.Addr())
	}
	mustGet(t, r, content)
	if asked != "boot.example.test:80" {
		t.Errorf("dialled %q", asked)
	}
}

func TestGetCredentialsAreSentAndNeverPrinted(t *testing.T) {
	content := imageBytes(1000)
	s := serve(t, content, faulty.Behaviour{Status: 503}, faulty.Behaviour{End: faulty.EndReset, Cut: 10})
	r, log := quick(t, content, strings.Replace(s.URL("x?token=geheim"), "http://", "http://joe:s3cret@", 1))
	image := mustGet(t, r, content)
	if auth := s.Log()[0].Auth; auth != "Basic am9lOnMzY3JldA==" {
		t.Errorf("Authorization %q", auth)
	}
	for _, secret := range []string{"s3cret", "joe", "geheim"} {
		if strings.Contains(log.String()+image.Source, secret) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
	r, _ = quick(t, content, s.URL("x"))
	r.Bearer = func(*url.URL) string { return "tok" }
	mustGet(t, r, content)
	if l := s.Log(); l[len(l)-1].Auth != "Bearer tok" {
		t.Errorf("Authorization %q", l[len(l)-1].Auth)
	}
}

func TestGetProgress(t *testing.T) {
	content := imageBytes(1 << 20)
	s := serve(t, content, faulty.Behaviour{Rate: 2 << 20})
	r, _ := quick(t, content, s.URL("x"))
	var seen []Progress
	r.Progress = func(p Progress) { seen = append(seen, p) }
	mustGet(t, r, content)
	if len(seen) < 3 {
		t.Fatalf("%d reports of half a second", len(seen))
	}
	for i, p := range seen {
		if i > 0 && p.Bytes < seen[i-1].Bytes || p.Total != 1<<20 || p.Mirror != s.Addr() {
			t.Errorf("report %d: %+v after %+v", i, p, seen[max(0, i-1)])
		}
	}
	if last := seen[len(seen)-1]; last.Bytes != 1<<20 || last.ETA != 0 {
		t.Errorf("last report %+v", last)
	}
}

func TestProgressString(t *testing.T) {
	for _, c := range []struct {
		p    Progress
		want string
	}{
		{Progress{Bytes: 352 << 20, Total: 1 << 30, Rate: 118 << 20, ETA: 5500 * time.Millisecond, Mirror: "boot.example"},
			"image 34% 352/1024 MiB 118 MiB/s ETA 6 s from boot.example"},
		{Progress{Bytes: 3 << 20, Total: -1, Rate: 1.5 * (1 << 20), ETA: -1, Mirror: "10.0.2.2:8080", Retries: 2},
			"image 3 MiB 1.5 MiB/s from 10.0.2.2:8080 (2 retries)"},
		{Progress{Total: 10, ETA: -1, Mirror: "h"}, "image 0% 0/1 MiB 0 KiB/s from h"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	long := Progress{Bytes: 1 << 50, Total: 1 << 51, Rate: 1 << 30, ETA: time.Hour, Mirror: strings.Repeat("h", 200), Retries: 1000}
	if s := long.String(); len([]rune(s)) > 79 {
		t.Errorf("%d columns: %s", len([]rune(s)), s)
	}
}

func TestGetLargerThanMemoryIsRefusedBeforeTheFirstByte(t *testing.T) {
	content := imageBytes(3 << 20)
	s := serve(t, content)
	r, _ := quick(t, content, s.URL("x"))
	r.MemAvailable = func() (int64, error) { return 66 << 20, nil }
	err := mustFail(t, r, "no-memory")
	if want := "needs 3 MiB of memory and 64 MiB besides, 66 MiB are available"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	if !err.Permanent() {
		t.Error("a retry is said to help")
	}
	// The same when the server tells no length: refused while it grows.
	s = serve(t, imageBytes(1<<20), faulty.Behaviour{NoLength: true, NoRanges: true, Times: -1})
	r, _ = quick(t, nil, s.URL("x"))
	r.MemAvailable = func() (int64, error) { return 90 << 20, nil }
	mustFail(t, r, "no-memory")
	r, _ = quick(t, nil, s.URL("x"))
	r.MemAvailable = func() (int64, error) { return 128 << 20, nil }
	mustGet(t, r, imageBytes(1<<20))
}

func TestGetOfUnknownSizeGrows(t *testing.T) {
	content := imageBytes(store.Step + 1<<20)
	s := serve(t, content, faulty.Behaviour{Chunked: true})
	r, _ := quick(t, content, s.URL("x"))
	asked := 0
	r.MemAvailable = func() (int64, error) { asked++; return 1 << 30, nil }
	image := mustGet(t, r, content)
	if asked != 2 {
		t.Errorf("memory was looked at %d times, want once for each step", asked)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(image.Path, &st); err != nil {
		t.Fatal(err)
	}
}

func TestGetRejectsBadRequests(t *testing.T) {
	r, _ := quick(t, nil)
	mustFail(t, r, "bad-url")
	r, _ = quick(t, nil, "http://127.0.0.1:1/x", "relative")
	mustFail(t, r, "bad-url")
	r, _ = quick(t, nil, "http://127.0.0.1:1/x")
	r.SHA256 = []byte{1}
	mustFail(t, r, "mismatch")
}

func TestGetThroughAProxyWhenAsked(t *testing.T) {
	content := imageBytes(100_000)
	proxy := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 50_000})
	r, _ := quick(t, content, "http://boot.example.test/dir/x")
	r.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL("")) }
	mustGet(t, r, content)
	if l := proxy.Log(); len(l) != 2 || l[1].Path != "/dir/x" {
		t.Errorf("the proxy saw %+v", l)
	}
}

func TestGetOverIPv6(t *testing.T) {
	content := imageBytes(100_000)
	s, err := faulty.Listen("[::1]:0", content)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r, _ := quick(t, content, s.URL("x"))
	mustGet(t, r, content)
}

func TestFileWithoutRoomIsRefusedBeforeTheFirstByte(t *testing.T) {
	content := imageBytes(3 << 20)
	s := serve(t, content)
	r, _ := quick(t, content, s.URL("x"))
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r.Store = store.File(filepath.Join(dir, "x"))
	err := mustFail(t, r, "no-space")
	if !strings.Contains(err.Error(), "3 MiB") {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestNothingKeepsRunning looks for goroutines and connections that outlive a
// download, a failed one included.
func TestNothingKeepsRunning(t *testing.T) {
	content := imageBytes(1 << 20)
	before := runtime.NumGoroutine()
	for _, b := range []faulty.Behaviour{{}, {End: faulty.EndStall, Cut: 500_000}, {Hang: true, Times: -1}} {
		s := serve(t, content, b)
		r, _ := quick(t, content, s.URL("x"))
		ctx, cancel := context.WithTimeout(soon(t), time.Second)
		if image, err := Get(ctx, r); err == nil {
			if err := image.Close(); err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// net/http's own goroutines see their closed connections a moment later.
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
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
