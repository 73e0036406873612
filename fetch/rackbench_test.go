package fetch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
)

// A rack is machines that want one image at once, over one link.
type rack struct {
	machines int
	content  []byte
	root     []byte
	tree     *verity.Tree
	rate     float64 // of the link, bytes per second
}

// spread is how far apart the machines of a rack start, by their firmware, the
// training of their links and DHCP.
const spread = 3 * time.Second

// mostOfOrigin is how many images all machines behind a cache may cost.
const mostOfOrigin = 1.05

// mostOfMean is how many times the mean of a stream's requests a second may
// see.
const mostOfMean = 3

func newRack(b *testing.B, machines, size int, rate float64) rack {
	r := rack{machines: machines, content: imageBytes(size), rate: rate}
	var text bytes.Buffer
	var err error
	if r.root, err = verity.Build(bytes.NewReader(r.content), int64(size), &text, verity.Options{}); err == nil {
		r.tree, err = verity.Open(text.Bytes(), r.root)
	}
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkRack has a rack of machines fetch an image, or stream it, with and
// without the cache of deploy/ at the near end of their link, and tells how
// many images the origin sent, when the last machine had it beside how long the
// link takes at best, and the requests of the worst second beside their mean.
func BenchmarkRack(b *testing.B) {
	for _, machines := range []int{8, 64} {
		r := newRack(b, machines, 512<<20/machines, 400e6/8)
		for _, way := range []string{"whole", "stream"} {
			for _, cached := range []bool{true, false} {
				if !cached && machines < 64 {
					continue // they are no load
				}
				b.Run(fmt.Sprintf("%d/%s/%s", machines, way, map[bool]string{true: "cache", false: "origin"}[cached]), func(b *testing.B) {
					r.run(b, way, cached)
				})
			}
		}
	}
}

func (r rack) run(b *testing.B, way string, cached bool) {
	l := newShapedLink(b, fmt.Sprintf("%.0fbit", 8*r.rate))
	var origin *faulty.Server
	var cache ref.Location
	if err := l.server.in(func() {
		var err error
		if origin, err = faulty.Listen(shapedServer+":0", r.content); err != nil {
			b.Error(err)
		}
	}); err != nil || b.Failed() {
		b.Fatal(err)
	}
	b.Cleanup(func() { origin.Close() })
	if cached {
		var err error
		if cache, err = ref.ParseURL(startRackCache(b, &l.server, shapedServer+":8080", origin.Addr())); err != nil {
			b.Fatal(err)
		}
	}
	get := map[string]func(context.Context, Request, string) error{"whole": r.whole, "stream": r.stream}[way]
	for b.Loop() {
		dir := tmpfs(b, "size=90%")
		begun, had := time.Now(), len(origin.Log())
		asked := &askedAt{}
		var all sync.WaitGroup
		for i := range r.machines {
			all.Go(func() {
				// By the machine's number, so that runs are alike.
				rng := rand.New(rand.NewPCG(uint64(i), 7))
				time.Sleep(time.Duration(rng.Int64N(int64(spread))))
				err := get(b.Context(), Request{Mirrors: mirrors(origin.URL("image")), Cache: cache, Seed: uint64(i), Size: int64(len(r.content)),
					Dial: l.client.dial, Log: slog.New(slog.DiscardHandler), Transport: asked.through}, filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		took := time.Since(begun).Seconds()
		sent, times := int64(0), []time.Time{}
		for _, e := range origin.Log()[had:] {
			sent += e.Sent
			times = append(times, e.At)
		}
		best := float64(r.machines*len(r.content)) / r.rate
		worst := worstSecond(asked.times, begun)
		mean := float64(len(asked.times)) / took
		images := float64(sent) / float64(len(r.content))
		b.ReportMetric(images, "origin-images")
		b.ReportMetric(took, "s")
		b.ReportMetric(took/best, "s/link-limit")
		b.ReportMetric(float64(len(asked.times)), "requests")
		b.ReportMetric(float64(worst), "requests/worst-s")
		b.ReportMetric(float64(worst)/mean, "worst/mean")
		b.ReportMetric(float64(worstSecond(times, begun)), "origin-requests/worst-s")
		if cached && images > mostOfOrigin {
			b.Errorf("%d machines behind a cache cost the origin %.2f images", r.machines, images)
		}
		// A whole image is one request of each machine: as many come in a
		// second as machines start in it.
		if ratio := float64(worst) / mean; way == "stream" && ratio > mostOfMean {
			b.Errorf("a second with %.1f times the mean of requests", ratio)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// whole fetches the image as a machine does that does not stream.
func (r rack) whole(ctx context.Context, q Request, path string) error {
	q.Verify, q.Store = r.tree.Verifier(1), store.Memory(path)
	image, err := Get(ctx, q)
	if err != nil {
		return err
	}
	return image.Close()
}

// stream fetches it as the worker of a machine whose stage 2 runs.
func (r rack) stream(ctx context.Context, q Request, path string) error {
	q.Checked = true
	ranges, err := NewRanges(q)
	if err != nil {
		return err
	}
	defer ranges.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	defer os.Remove(path)
	blocks := r.tree.Size() / int64(r.tree.Superblock().DataBlockSize)
	return stream.New(stream.Config{
		Store:   &stream.Store{File: file, Tree: r.tree, Map: stream.NewBitmap(make([]uint64, stream.Words(blocks)), blocks)},
		Mirrors: ranges, Log: q.Log, Changed: func() {},
	}).Run(ctx)
}

// askedAt are the times of requests, by whomever.
type askedAt struct {
	mu    sync.Mutex
	times []time.Time
}

func (a *askedAt) through(base http.RoundTripper, _ bool) http.RoundTripper {
	return noting{base, a}
}

type noting struct {
	http.RoundTripper
	at *askedAt
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.at.mu.Lock()
	n.at.times = append(n.at.times, time.Now())
	n.at.mu.Unlock()
	return n.RoundTripper.RoundTrip(r)
}

// worstSecond is how many of some times are in the second with the most.
func worstSecond(times []time.Time, begun time.Time) int {
	seconds := map[int]int{}
	for _, at := range times {
		seconds[int(at.Sub(begun).Seconds())]++
	}
	worst := 0
	for _, n := range seconds {
		worst = max(worst, n)
	}
	return worst
}
