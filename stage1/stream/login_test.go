package stream

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"testing"

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
