// Package storm has many engines fetch one image at once, as machines do after
// a power cut, and tells how their requests were spread.
package storm

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"netstage/fetch"
	"netstage/stage1/fault"
)

// Options say what storms what.
type Options struct {
	Clients int
	// Fetch is what each client asks for. Store, Log and Seed are its own.
	Fetch fetch.Request
	// Spread is the time within which the clients start, evenly at random:
	// machines that get power together take longer and shorter until they ask.
	// 0: all at once.
	Spread time.Duration
	// Done is told after each client's end, if it isn't nil; never
	// concurrently.
	Done func(succeeded, failed int)
}

// Report tells what became of the clients.
type Report struct {
	Clients, Succeeded int
	Failures           map[string]int // by class
	Bytes              int64          // of bodies, also those thrown away
	Took               time.Duration
	Slowest            time.Duration // client
	Requests           int
	Retries            int
	// PerSecond counts the requests of each second since the start.
	PerSecond []Second
}

// Second is what a server saw in one second.
type Second struct {
	Starts  int // first requests of a client
	Retries int // all others: retries, and what redirects and mirrors ask for
}

func (s Second) requests() int { return s.Starts + s.Retries }

// Peak is the most requests in a second, and how many times the mean that is.
func (r Report) Peak() (requests int, timesMean float64) { return peak(r.PerSecond, Second.requests) }

// PeakRetries is Peak without the clients' first requests, which are theirs to
// make whenever they have power.
func (r Report) PeakRetries() (requests int, timesMean float64) {
	return peak(r.PerSecond, func(s Second) int { return s.Retries })
}

func peak(seconds []Second, count func(Second) int) (most int, timesMean float64) {
	total := 0
	for _, s := range seconds {
		most, total = max(most, count(s)), total+count(s)
	}
	if total == 0 {
		return 0, 0
	}
	return most, float64(most) * float64(len(seconds)) / float64(total)
}

// Run lets all clients loose and waits for them.
func Run(ctx context.Context, o Options) Report {
	r := Report{Clients: o.Clients, Failures: map[string]int{}}
	c := &counter{start: time.Now()}
	var mu sync.Mutex
	var all sync.WaitGroup
	ended := 0
	for n := range o.Clients {
		all.Go(func() {
			request := o.Fetch
			request.Store, request.Log, request.Seed = nowhere{}, slog.New(slog.DiscardHandler), request.Seed+uint64(n)
			c.counting(&request)
			powerOn(ctx, o.Spread, request.Seed)
			image, err := fetch.Get(ctx, request)
			took := time.Since(c.start)
			mu.Lock()
			defer mu.Unlock()
			r.Slowest = max(r.Slowest, took)
			if err != nil {
				r.Failures[string(fault.ClassOf(err))]++
			} else {
				r.Succeeded++
				r.Bytes += image.Stats.Received
				r.Retries += image.Stats.Retries
				image.Close() // of /dev/null
			}
			ended++
			if o.Done != nil {
				o.Done(r.Succeeded, ended-r.Succeeded)
			}
		})
	}
	all.Wait()
	r.Took, r.PerSecond = time.Since(c.start), c.perSecond
	for _, s := range r.PerSecond {
		r.Requests += s.requests()
	}
	return r
}

// powerOn waits for as long as this client's firmware takes. An engine that is
// let loose after the end of ctx asks no server and says why.
func powerOn(ctx context.Context, spread time.Duration, seed uint64) {
	if spread <= 0 {
		return
	}
	t := time.NewTimer(time.Duration(rand.New(rand.NewPCG(seed, 1)).Int64N(int64(spread))))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// counter counts the requests of all clients by the second.
type counter struct {
	start     time.Time
	mu        sync.Mutex
	perSecond []Second
}

func (c *counter) add(first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	second := int(time.Since(c.start) / time.Second)
	if missing := second + 1 - len(c.perSecond); missing > 0 {
		c.perSecond = slices.Concat(c.perSecond, make([]Second, missing))
	}
	if first {
		c.perSecond[second].Starts++
	} else {
		c.perSecond[second].Retries++
	}
}

// client is the way of one engine's requests to their servers.
type client struct {
	*counter
	next  http.RoundTripper
	asked *atomic.Bool
}

// RoundTrip is http.RoundTripper's.
func (c client) RoundTrip(r *http.Request) (*http.Response, error) {
	c.add(!c.asked.Swap(true))
	return c.next.RoundTrip(r)
}

// counting puts a client before the engine's own way.
func (c *counter) counting(r *fetch.Request) {
	own, asked := r.Transport, new(atomic.Bool)
	r.Transport = func(base http.RoundTripper, secrets bool) http.RoundTripper {
		if own != nil {
			base = own(base, secrets)
		}
		return client{counter: c, next: base, asked: asked}
	}
}

// nowhere is a store that keeps nothing: what is verified is what streams by.
type nowhere struct{}

func (nowhere) Create(int64) (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) }
func (nowhere) Grow(int64) error               { return nil }
func (nowhere) Close() error                   { return nil }
func (nowhere) InMemory() bool                 { return false }

func (nowhere) Commit(int64) (*os.File, string, error) {
	f, err := os.Open(os.DevNull)
	return f, os.DevNull, err
}
