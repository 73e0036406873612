package fetch

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/stage1/fault"
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
		return &faulty.Breaking{Conn: c, Left: 2 << 20}, err
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

// TestConnectionThatIsLate has a server that always needs longer for a
// connection, or for the handshake, than is waited for at first: there is more
// patience with each try, and in the end it serves.
func TestConnectionThatIsLate(t *testing.T) {
	content := imageBytes(1 << 20)
	year := time.Now().Year()
	from, to := time.Date(year-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year+9, 1, 1, 0, 0, 0, 0, time.UTC)
	ca := newAuthority(t, from, to)
	late := ca.serverConfig(t, from, to, "boot.example.test")
	late.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(700 * time.Millisecond)
		return nil, nil
	}
	handshake := func(t *testing.T) (Request, *story) {
		s := serveTLS(t, late, content)
		r, log := quick(t, content, secureURL)
		r.Dial, r.Roots, r.Timeouts.TLS = dialTo(s.Addr()), ca.pool, 200*time.Millisecond
		return r, log
	}
	for name, c := range map[string]struct {
		request func(*testing.T) (Request, *story)
		says    string
	}{
		"handshake": {handshake, "no TLS handshake in time"},
		"connection": {func(t *testing.T) (Request, *story) {
			s := serve(t, content)
			r, log := quick(t, content, s.URL("x"))
			r.Timeouts.Dial = 200 * time.Millisecond
			r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(500 * time.Millisecond):
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
			}
			return r, log
		}, "no connection in time"},
	} {
		t.Run(name, func(t *testing.T) {
			r, log := c.request(t)
			mustGet(t, r, content)
			log.mustSay(t, c.says)
		})
	}
	t.Run("for parts", func(t *testing.T) {
		r, _ := handshake(t)
		r.Size, r.Checked = int64(len(content)), true
		parts, err := NewRanges(r)
		if err != nil {
			t.Fatal(err)
		}
		defer parts.Close()
		for tries := 1; ; tries++ {
			body, err := parts.Get(soon(t), 0, 0, 99)
			if err == nil {
				body.Close()
				break
			}
			if fault.ClassOf(err) != fault.Timeout || tries > 4 {
				t.Fatalf("try %d: %v", tries, err)
			}
		}
	})
}
