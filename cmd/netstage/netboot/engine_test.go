package netboot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch"
	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/store"
)

// The downloads of machines: whole, resumed after a break, and begun anew when
// the image was replaced meanwhile, which two servers with the same files may
// serve in turn.
func TestTheEngineDownloads(t *testing.T) {
	image := func(seed byte) []byte {
		b := make([]byte, 3<<20)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		return b
	}
	before, after := image(1), image(2)
	for name, test := range map[string]struct {
		breaks, replaced bool
		second           bool
		want             []string
		requests         int
	}{
		"whole":                     {want: []string{", verified"}, requests: 1},
		"broken":                    {breaks: true, want: []string{"connection reset", "resuming at 1/3 MiB"}, requests: 2},
		"broken, gone on elsewhere": {breaks: true, second: true, want: []string{"connection reset", "next try from", "resuming at 1/3 MiB"}, requests: 2},
		"replaced":                  {breaks: true, replaced: true, want: []string{"connection reset", "starting over at 3/3 MiB: the parts received do not make up the image"}, requests: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{"image.squashfs": string(before)})
			url, access := serve(t, Options{Dir: dir})
			var log buffer
			content, dials := before, 0
			if test.replaced {
				content = after
			}
			digest := sha256.Sum256(content)
			r := fetch.Request{
				Mirrors: mirrors(url + "/image.squashfs"), SHA256: digest[:], Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&log))),
				Store: store.File(filepath.Join(t.TempDir(), "image")), Backoff: pace.Backoff{Base: 5 * time.Millisecond, Cap: 50 * time.Millisecond},
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials++
					if dials == 2 && test.replaced {
						write(t, filepath.Join(dir, "new"), string(after))
						if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "image.squashfs")); err != nil {
							return nil, err
						}
					}
					c, err := new(net.Dialer).DialContext(ctx, network, addr)
					if err == nil && dials == 1 && test.breaks {
						c = &faulty.Breaking{Conn: c, Left: 2 << 20}
					}
					return c, err
				},
			}
			if test.second {
				other, _ := serve(t, Options{Dir: dir})
				r.Mirrors = append(r.Mirrors, mirrors(other+"/image.squashfs")...)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			got, err := fetch.Get(ctx, r)
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, log.String(), access.String())
			}
			defer got.Close()
			if b, err := io.ReadAll(got.File); err != nil || !bytes.Equal(b, content) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			for _, want := range test.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("no %q in\n%s", want, log.String())
				}
			}
			if got.Stats.Requests != test.requests {
				t.Errorf("%+v", got.Stats)
			}
		})
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
