package fetch_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/fetch/store"
)

// An image from a server, verified by its digest while it streams. The file
// appears when it is complete.
func ExampleGet() {
	const content = "what a machine boots"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "image", time.Time{}, strings.NewReader(content))
	}))
	defer server.Close()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	mirror, err := ref.ParseURL(server.URL + "/image")
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256([]byte(content))
	image, err := fetch.Get(context.Background(), fetch.Request{
		Mirrors: []ref.Location{mirror},
		SHA256:  digest[:],
		Store:   store.File(filepath.Join(dir, "image")),
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer image.Close()
	fmt.Println(image.Size, "bytes,", image.Stats.Requests, "request")
	// Output: 20 bytes, 1 request
}
