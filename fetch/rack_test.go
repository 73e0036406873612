package fetch

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/store"
)

// BenchmarkRack has 64 machines fetch an image at once over one link, with and
// without the cache of deploy/ at its near end, and tells how many images the
// origin sent, when the last machine had it beside how long the link takes at
// best, and the requests of the worst second beside their mean.
func BenchmarkRack(b *testing.B) {
	const (
		machines = 64
		size     = 8 << 20
		rate     = 400e6 / 8 // bytes per second
	)
	content := imageBytes(size)
	sum := sha256.Sum256(content)
	for _, cached := range []bool{true, false} {
		b.Run(map[bool]string{true: "cache", false: "origin"}[cached], func(b *testing.B) {
			l := newShapedLink(b, "400mbit")
			var origin *faulty.Server
			var cache ref.Location
			if err := l.server.in(func() {
				var err error
				if origin, err = faulty.Listen(shapedServer+":0", content); err != nil {
					b.Error(err)
				}
			}); err != nil || b.Failed() {
				b.Fatal(err)
			}
			if cached {
				var err error
				if cache, err = ref.ParseURL(startRackCache(b, &l.server, shapedServer+":8080", origin.Addr())); err != nil {
					b.Fatal(err)
				}
			}
			b.Cleanup(func() { origin.Close() })
			dir := tmpfs(b, "size=90%")
			for b.Loop() {
				begun := time.Now()
				had := len(origin.Log())
				var all sync.WaitGroup
				var mu sync.Mutex
				requests := 0
				for i := range machines {
					all.Go(func() {
						image, err := Get(b.Context(), Request{Mirrors: mirrors(origin.URL("image")), Cache: cache, SHA256: sum[:], Seed: uint64(i),
							Dial: l.client.dial, Store: store.Memory(filepath.Join(dir, fmt.Sprint(i))), Log: slog.New(slog.DiscardHandler)})
						if err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						requests += image.Stats.Requests
						mu.Unlock()
						if err := image.Close(); err != nil {
							b.Error(err)
						}
					})
				}
				all.Wait()
				took := time.Since(begun).Seconds()
				sent, seconds := int64(0), make([]int, int(took)+1)
				for _, e := range origin.Log()[had:] {
					sent += e.Sent
					if s := int(e.At.Sub(begun).Seconds()); s < len(seconds) {
						seconds[s]++
					}
				}
				b.ReportMetric(float64(sent)/size, "origin-images")
				b.ReportMetric(took, "s")
				b.ReportMetric(took/(machines*size/rate), "s/link-limit")
				b.ReportMetric(float64(requests), "requests")
				b.ReportMetric(float64(slices.Max(seconds)), "origin-requests/worst-s")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// startRackCache runs the configuration that we ship, where nginxAt does, for
// one origin, and returns its URL.
func startRackCache(t testing.TB, where *link, addr, origin string) string {
	t.Helper()
	shipped, err := os.ReadFile("../deploy/nginx-cache.conf")
	if err != nil {
		t.Fatal(err)
	}
	return nginxAt(t, where, addr, strings.NewReplacer("/var/cache/nginx/images", filepath.Join(t.TempDir(), "cache"), "max_size=200g", "max_size=100m",
		"images.example.org 1;", origin+" 1;", "listen 8080;", "listen @ADDR@;").Replace(string(shipped)))
}

// The configuration that we ship, by a real nginx: many machines at once cost
// the origin the image once.
func TestRackCache(t *testing.T) {
	content := imageBytes(6<<20 + 1234)
	origin := serve(t, content)
	base := startRackCache(t, nil, freeAddr(t), origin.Addr())
	var all sync.WaitGroup
	for range 8 {
		r, _ := quick(t, content, origin.URL("dir/image"))
		// nginx looks twice a second whether a slice that others fetch is there.
		r.Timeouts, r.LowSpeed = pace.Timeouts{}, pace.LowSpeedLimit{}
		var err error
		if r.Cache, err = ref.ParseURL(base); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			image, err := Get(soon(t), r)
			if err != nil {
				t.Error(err)
				return
			}
			defer image.Close()
			got, err := os.ReadFile(image.Path)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	sent := int64(0)
	for _, e := range origin.Log() {
		sent += e.Sent
	}
	if limit := int64(len(content)) * 105 / 100; sent > limit {
		t.Errorf("the origin sent %d bytes of an image of %d to 8 machines", sent, len(content))
	}
	resp, err := http.Get(base + "http/127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("it asks anybody: %s", resp.Status)
	}
}
