package faulty

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
)

// get returns what an ordinary client sees.
func get(t *testing.T, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestScript(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	script, err := Parse([]byte(`[
		{"status": 503, "retry_after": "7", "times": 2},
		{"end": "rst", "cut": 20}, {"end": "close", "cut": 30, "no_length": true},
		{"flip": [5, 999999]}, {"chunked": true}, {"content_range": "bytes 0-0/1"}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen("127.0.0.1:0", content, script...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if resp, _, err := get(t, s.URL("x")); err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("%v %v", resp, err)
		}
	}
	if _, body, err := get(t, s.URL("x")); !errors.Is(err, syscall.ECONNRESET) || len(body) > 20 {
		t.Errorf("reset: %d bytes, %v", len(body), err)
	}
	if _, body, err := get(t, s.URL("x")); err != nil || len(body) != 30 {
		t.Errorf("short without length: %d bytes, %v", len(body), err)
	}
	_, body, err := get(t, s.URL("x"))
	if err != nil || body[5] != content[5]^0xff || body[999_999] != content[999_999]^0xff || body[6] != content[6] {
		t.Errorf("flipped: %v", err)
	}
	if resp, body, err := get(t, s.URL("x")); err != nil || resp.ContentLength != -1 || !bytes.Equal(body, content) {
		t.Errorf("chunked: %d bytes, %v", len(body), err)
	}
	if resp, _, _ := get(t, s.URL("x"), "Range", "bytes=5-"); resp == nil || resp.Header.Get("Content-Range") != "bytes 0-0/1" {
		t.Errorf("range: %v", resp)
	}
	// After the script: a correct server.
	resp, body, err := get(t, s.URL("x"), "Range", "bytes=999990-", "If-Range", resp0ETag(t, s))
	if err != nil || resp.StatusCode != 206 || string(body) != "0123456789" || resp.Header.Get("Content-Range") != "bytes 999990-999999/1000000" {
		t.Errorf("%v %q %v", resp, body, err)
	}
	if resp, body, err := get(t, s.URL("x"), "Range", "bytes=11-13"); err != nil || resp.StatusCode != 206 || string(body) != "123" || resp.Header.Get("Content-Range") != "bytes 11-13/1000000" {
		t.Errorf("%v %q %v", resp, body, err)
	}
	if resp, body, err := get(t, s.URL("x"), "Range", "bytes=1-", "If-Range", `"other"`); err != nil || resp.StatusCode != 200 || len(body) != len(content) {
		t.Errorf("If-Range: %v, %d bytes, %v", resp, len(body), err)
	}
	if resp, _, err := get(t, s.URL("x"), "Range", "bytes=1000000-"); err != nil || resp.StatusCode != 416 {
		t.Errorf("%v %v", resp, err)
	}
	if l := s.Log(); len(l) != 12 || l[7].Range != "" || l[6].Range != "bytes=5-" {
		t.Errorf("%d entries", len(l))
	}
}

func resp0ETag(t *testing.T, s *Server) string {
	t.Helper()
	resp, _, err := get(t, s.URL("x"))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("ETag")
}
