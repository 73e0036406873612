package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/fetch/verity"

	"netstage/cmd/netstage/netboot"
	"netstage/fetch"
	"netstage/fetch/oci/peer"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
)

// ordered asks for an artifact.
func ordered(t *testing.T, reference string) vouch.Order {
	t.Helper()
	l, err := ref.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return vouch.Order{Images: []ref.Location{l}, Fetch: fetch.Request{Log: slog.New(slog.DiscardHandler)}}
}

// What is pushed is pulled as it was, and not twice.
func TestPull(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	from := folder(t, "image one")
	digest, _ := push(t, r, from, Access{}, "", "1")
	to := t.TempDir()
	a, err := vouch.Find(t.Context(), ordered(t, "oci+http://"+r.Host+"/team/web:1"))
	if err != nil || "sha256:"+a.Digest != digest {
		t.Fatalf("%+v, %v", a, err)
	}
	fetched, err := Pull(t.Context(), a, to, Everything)
	if slices.Sort(fetched); err != nil || !slices.Equal(fetched, slices.Sorted(slices.Values(everything))) {
		t.Fatalf("%q, %v", fetched, err)
	}
	for _, name := range append([]string{"nix-store.squashfs.roothash"}, everything...) {
		was, err := os.ReadFile(filepath.Join(from, name))
		is, err2 := os.ReadFile(filepath.Join(to, name))
		if err != nil || err2 != nil || !bytes.Equal(was, is) {
			t.Errorf("%s: %q became %q, %v, %v", name, was, is, err, err2)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "bzImage"), []byte("kernex"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fetched, err = Pull(t.Context(), a, to, Everything); err != nil || !slices.Equal(fetched, []string{"bzImage"}) {
		t.Errorf("again: %q, %v", fetched, err)
	}
	for _, title := range []string{"../x", "", ".hidden", "a/b", "a\nb"} {
		d := r.Push(t, "odd", "1", peer.Layer{Type: "application/x", Title: title, Content: []byte("x")})
		a, err := vouch.Find(t.Context(), ordered(t, "oci+http://"+r.Host+"/odd@"+d.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Pull(t.Context(), a, t.TempDir(), Everything); err == nil || !strings.Contains(err.Error(), "which is no file's") {
			t.Errorf("%q: %v", title, err)
		}
	}
}

// Of a new image only what changed is fetched: into the folder of the one before,
// and with a seed into another. What is there is verified, be a seed what it may.
func TestPullSeeded(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	var sent atomic.Int64
	proxy := r.Proxy(t)
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { proxy.ServeHTTP(counter{w, &sent}, q) }))
	defer counting.Close()
	host := strings.TrimPrefix(counting.URL, "http://")
	first := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(first)
	second := slices.Concat(first[:1<<20], first[2<<20:], first[:64<<10]) // moved, too
	rand.NewChaCha8([32]byte{2}).Read(second[3<<20 : 3<<20+128<<10])
	from := func(image []byte, tag string) {
		dir := folder(t, string(image))
		var tree bytes.Buffer
		root, err := verity.Build(bytes.NewReader(image), int64(len(image)), &tree, verity.Options{Salt: []byte("salt")})
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{"nix-store.squashfs.verity": tree.Bytes(), "nix-store.squashfs.roothash": []byte(hex.EncodeToString(root))} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		push(t, r, dir, Access{}, "", tag)
	}
	from(first, "1")
	from(second, "2")
	pull := func(tag, to string, want []byte, most int64, seeds ...vouch.Seed) {
		t.Helper()
		a, err := vouch.Find(t.Context(), ordered(t, "oci+http://"+host+"/team/web:"+tag))
		if err != nil {
			t.Fatal(err)
		}
		sent.Store(0)
		if _, err := Pull(t.Context(), a, to, Everything, seeds...); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(to, "nix-store.squashfs"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, another image: %v", len(got), err)
		}
		if left, _ := filepath.Glob(filepath.Join(to, "*.part")); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		t.Logf("%s: %d of %d bytes came from the registry", tag, sent.Load(), len(want))
		if sent.Load() > most {
			t.Errorf("%s: %d bytes came, of which %d at most were to", tag, sent.Load(), most)
		}
	}
	one, two := t.TempDir(), t.TempDir()
	pull("1", one, first, 9<<20)
	pull("2", one, second, 1<<20)
	pull("1", two, first, 2<<20, vouch.Seed{Name: "second", File: bytes.NewReader(second), Size: int64(len(second))})
	other := make([]byte, 1<<20) // of no use, and no harm
	pull("2", t.TempDir(), second, 9<<20, vouch.Seed{Name: "other", File: bytes.NewReader(other), Size: int64(len(other))})
}

// counter counts what is answered.
type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// A server of boots whose tags are a registry's: what a tag means is rolled out
// and back by pushing, machines with a rule have a tag of their own, and the
// registry may go.
func TestSource(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	var up atomic.Bool
	up.Store(true)
	host := front(t, r, up.Load)
	one, two := folder(t, "one"), folder(t, "two")
	if err := os.WriteFile(filepath.Join(two, "bzImage"), []byte("kernel two"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, _ := push(t, r, one, Access{}, "", "stable")
	second, _ := push(t, r, two, Access{}, "", "canary")
	rules := "# the first to fall\nAA:bb:cc:dd:ee:01 canary\n"
	dir := t.TempDir()
	open := func() *Source {
		s := &Source{
			From: ref.Artifact{Host: host, Name: "team/web", Tag: "stable", Plain: true}, Dir: dir, Log: slog.New(slog.DiscardHandler),
			Order: func(a ref.Artifact) (vouch.Order, error) { return ordered(t, a.String()), nil },
			Rules: func() (map[string]string, error) { return ParseRules(rules) },
		}
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	var source atomic.Pointer[Source]
	source.Store(open())
	refresh := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !up.Load() {
			ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
		}
		return source.Load().Refresh(ctx)
	}
	server, err := netboot.New(netboot.Options{Dir: dir, Source: func(mac string) (netboot.Boot, error) { return source.Load().Boot(mac) }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()
	get := func(path string) string {
		resp, err := http.Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	boots := func(mac, digest, kernel string) {
		t.Helper()
		script := get("/boot.ipxe?mac=" + mac)
		folder := "/artifacts/" + strings.TrimPrefix(digest, "sha256:")
		for _, want := range []string{"kernel " + folder + "/bzImage ", "initrd " + folder + "/initrd.zst ", " rootfs=oci+http://" + host + "/team/web@" + digest + " init=/init"} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: no %q in\n%s", mac, want, script)
			}
		}
		if got := get(folder + "/bzImage"); got != kernel {
			t.Errorf("%s loads the kernel %q", mac, got)
		}
		if got := get(folder + "/nix-store.squashfs"); !strings.Contains(got, "not found") {
			t.Errorf("the image is here, too: %q", got)
		}
	}
	const any, ruled = "aa-bb-cc-dd-ee-02", "aa-bb-cc-dd-ee-01"
	if script := get("/boot.ipxe?mac=" + any); !strings.Contains(script, "is not known") {
		t.Errorf("before the registry was asked:\n%s", script)
	}
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	if script := get("/boot.ipxe"); !strings.Contains(script, "chain /boot.ipxe?mac=") {
		t.Errorf("who asks is not asked:\n%s", script)
	}
	boots(any, first, "kernel")
	boots(ruled, second, "kernel two")
	rolled, _ := push(t, r, two, Access{}, "", "stable")
	if err := refresh(); err != nil || rolled != second {
		t.Fatal(rolled, err)
	}
	boots(any, second, "kernel two")
	push(t, r, one, Access{}, "", "stable") // back
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	boots(any, first, "kernel")

	up.Store(false)
	source.Store(open()) // as after a restart
	if err := refresh(); err == nil {
		t.Error("a registry that is down is not told of")
	}
	boots(any, first, "kernel")
	boots(ruled, second, "kernel two")

	// What nobody boots any more goes after a day.
	rules = ""
	up.Store(true)
	old := time.Now().Add(-25 * time.Hour)
	gone := filepath.Join(dir, artifacts, strings.TrimPrefix(second, "sha256:"))
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(gone); err != nil {
		t.Errorf("gone at once: %v", err)
	}
	if err := os.Chtimes(gone, old, old); err != nil {
		t.Fatal(err)
	}
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("it is there after a day: %v", err)
	}
	boots(any, first, "kernel")
}

// front passes requests on while the registry is to be there.
func front(t *testing.T, r *peer.Registry, up func() bool) (host string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !up() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.Proxy(t).ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRules(t *testing.T) {
	for _, text := range []string{"aa-bb-cc-dd-ee-ff", "x y", "aa-bb-cc-dd-ee-ff a b", "aa-bb-cc-dd-ee-ff a/b", "aa-bb-cc-dd-ee-ff x@sha256:" + strings.Repeat("0", 64)} {
		if rules, err := ParseRules(text); err == nil {
			t.Errorf("%q: %v", text, rules)
		}
	}
}
