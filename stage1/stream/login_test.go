package stream

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/fetch"
	"netstage/fetch/oci/peer"
	"netstage/fetch/ref"
)

// The worker has to log in by itself: nothing of the boot is left.
func TestWorkerLogsIn(t *testing.T) {
	r := peer.Start(t, peer.Options{Login: "boot:secret"})
	blob := bytes.Repeat([]byte("0123456789"), 1000)
	r.Push(t, "web", "1", peer.Layer{Type: "application/x", Title: "x", Content: blob})
	place, err := ref.ParseURL(r.URL + "/v2/web/blobs/" + peer.DigestOf(blob))
	if err != nil {
		t.Fatal(err)
	}
	login := []byte(fmt.Sprintf(`{"auths": {%q: {"username": "boot", "password": "secret"}}}`, r.URL))
	for name, test := range map[string]struct {
		spec spec
		good bool
	}{
		"a login":          {spec{Artifacts: []string{"oci+http://" + r.Host + "/web:1"}, Logins: login}, true},
		"none":             {spec{Artifacts: []string{"oci+http://" + r.Host + "/web:1"}}, false},
		"for a proxy":      {spec{Artifacts: []string{"oci+http://" + r.Host + "/web:1"}, Logins: login, Proxy: "http://proxy:3128"}, false},
		"of another image": {spec{Logins: login}, false},
	} {
		q := fetch.Request{Size: int64(len(blob)), Checked: true, Log: slog.New(slog.DiscardHandler), Mirrors: []ref.Location{place}}
		if err := test.spec.logIn(&q); err != nil {
			t.Fatal(err)
		}
		ranges, err := fetch.NewRanges(q)
		if err != nil {
			t.Fatal(err)
		}
		body, err := ranges.Get(t.Context(), 0, 100, 199)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, blob[100:200]) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			body.Close()
		}
		ranges.Close()
	}
}

// What a reader of a running system waits for comes also when the worker's
// token has run out, or the object store's URL that it was led to.
func TestWorkerOutlivesWhatExpires(t *testing.T) {
	tokens := peer.ServeTokens(t, "")
	r := peer.Start(t, peer.Options{Tokens: tokens})
	blob := bytes.Repeat([]byte("0123456789"), 1000)
	r.Push(t, "web", "1", peer.Layer{Type: "application/x", Title: "x", Content: blob})
	tokens.Last(time.Second)
	var shown atomic.Value
	var urls, gone atomic.Int64
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.FormValue("n") != fmt.Sprint(urls.Load()) {
			gone.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(blob))
	}))
	t.Cleanup(store.Close)
	proxy := r.Proxy(t)
	proxy.ModifyResponse = func(resp *http.Response) error {
		if strings.Contains(resp.Request.URL.Path, "/blobs/") && resp.StatusCode/100 == 2 {
			shown.Store(resp.Request.Header.Get("Authorization"))
			resp.StatusCode = http.StatusTemporaryRedirect
			resp.Header.Set("Location", fmt.Sprintf("%s/x?n=%d", store.URL, urls.Add(1)))
		}
		return nil
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	place, err := ref.ParseURL(front.URL + "/v2/web/blobs/" + peer.DigestOf(blob))
	if err != nil {
		t.Fatal(err)
	}
	s := spec{Artifacts: []string{"oci+http://" + strings.TrimPrefix(front.URL, "http://") + "/web:1"}}
	q := fetch.Request{Size: int64(len(blob)), Checked: true, Log: slog.New(slog.DiscardHandler), Mirrors: []ref.Location{place}}
	if err := s.logIn(&q); err != nil {
		t.Fatal(err)
	}
	ranges, err := fetch.NewRanges(q)
	if err != nil {
		t.Fatal(err)
	}
	defer ranges.Close()
	for n := range 2 {
		body, err := ranges.Get(t.Context(), 0, 100, 199)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, blob[100:200]) {
			t.Errorf("%q, %v", got, err)
		}
		body.Close()
		for n == 0 && r.Takes(t, "web", shown.Load().(string)) {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if len(tokens.Asked()) < 2 || urls.Load() != 2 || gone.Load() != 0 {
		t.Errorf("%d tokens, led on %d times, %d times too late", len(tokens.Asked()), urls.Load(), gone.Load())
	}
}
