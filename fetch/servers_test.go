package fetch

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netstage/fetch/faulty"
)

// TestValidatorsOfSeveralServers is one name with several servers behind it,
// whose validators differ, on connections that break: what vouches for the
// image tells whether it is right, and every byte in hand is kept.
func TestValidatorsOfSeveralServers(t *testing.T) {
	content := imageBytes(6 << 20)
	var script []faulty.Behaviour
	for i := range 40 {
		script = append(script, faulty.Behaviour{ETag: fmt.Sprintf("\"%d\"", i), End: faulty.EndClose, Cut: 1 << 20})
	}
	for _, vouched := range []string{"sha256", "verity"} {
		t.Run(vouched, func(t *testing.T) {
			s := serve(t, content, script...)
			r, log := quick(t, content, s.URL("x"))
			if vouched == "verity" {
				r, log = verityRequest(t, content, s.URL("x"))
			}
			image := mustGet(t, r, content)
			if image.Stats.Restarts != 0 || image.Stats.Requests != 6 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}

// TestNginxWithValidatorsOfItsOwn never continues what If-Range asks for.
func TestNginxWithValidatorsOfItsOwn(t *testing.T) {
	content := imageBytes(6 << 20)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	url := startNginx(t, dir, `etag off; add_header ETag '"$request_id"'; add_header Last-Modified "";`) + "image"
	r, log := quick(t, content, url)
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &breaking{Conn: c, left: 2 << 20}, err
	}
	image := mustGet(t, r, content)
	if image.Stats.Restarts != 0 || image.Stats.Requests > 5 {
		t.Errorf("%+v\n%s", image.Stats, log)
	}
}

// TestPartThatIsCalledTheWhole: the header tells its range, or nothing does
// and it is asked for without one.
func TestPartThatIsCalledTheWhole(t *testing.T) {
	content := imageBytes(3 << 20)
	broken := faulty.Behaviour{End: faulty.EndClose, Cut: 2 << 20}
	s := serve(t, content, broken, faulty.Behaviour{PartAs200: true, Times: -1})
	r, log := quick(t, content, s.URL("x"))
	if image := mustGet(t, r, content); image.Stats.Restarts != 0 || image.Stats.Requests != 2 {
		t.Errorf("%+v\n%s", image.Stats, log)
	}
	s = serve(t, content, broken, faulty.Behaviour{PartAs200: true, NoPartHeader: true, Times: -1})
	r, log = quick(t, content, s.URL("x"))
	if image := mustGet(t, r, content); image.Stats.Restarts != 1 || image.Stats.Requests != 3 {
		t.Errorf("%+v\n%s", image.Stats, log)
	}
}

// TestContentCodings: what codes the bytes is refused, and nothing else.
func TestContentCodings(t *testing.T) {
	content := imageBytes(1 << 20)
	for token, coded := range map[string]bool{
		"aws-chunked": false, "Identity": false, "none": false, "binary": false, "UTF-8": false,
		"GZIP": true, "br": true, "zstd": true, "aws-chunked, gzip": true,
	} {
		t.Run(token, func(t *testing.T) {
			s := serve(t, content, faulty.Behaviour{Encoding: token, Times: -1})
			r, _ := quick(t, content, s.URL("x"))
			if coded {
				mustFail(t, r, "encoding")
			} else {
				mustGet(t, r, content)
			}
		})
	}
}

// TestFirstByteThatIsLate always comes after what is waited for at first: the
// header, or the body after its header.
func TestFirstByteThatIsLate(t *testing.T) {
	content := imageBytes(1 << 20)
	for name, b := range map[string]faulty.Behaviour{
		"header": {DelayMS: 700, Times: -1},
		"body":   {BodyDelay: 700, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, content, b)
			r, log := quick(t, content, s.URL("x"))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			image, err := Get(ctx, r)
			if err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			if err := image.Close(); err != nil {
				t.Error(err)
			}
			if image.Stats.Retries > 3 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}
