package fetch

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"netstage/fetch/pace"
	"netstage/fetch/ref"
)

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
		// nginx looks twice a second whether a slice that others fetch is
		// there.
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
