// Package storm has many engines fetch one image at once, as machines do after a power cut, and tells how their
// requests were spread.
package storm

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"netstage/fetch"
)

// Options say what storms what.
type Options struct {
	Clients int
	// Fetch is what each client asks for. Store, Log and Seed are its own.
	Fetch fetch.Request
	// Done is told after each client's end, if it isn't nil; never concurrently.
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
	PerSecond []int
}

// Peak is the most requests in a second of retries, and how many times the mean that is. The first second does not
// count where others follow: all clients begin in it.
func (r Report) Peak() (requests int, timesMean float64) {
	seconds := r.PerSecond
	if len(seconds) > 1 {
		seconds = seconds[1:]
	}
	total := 0
	for _, n := range seconds {
		requests, total = max(requests, n), total+n
	}
	if total == 0 {
		return 0, 0
	}
	return requests, float64(requests) * float64(len(seconds)) / float64(total)
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
			request.Store, request.Log, request.Seed = nowhere{}, slog.New(c), request.Seed+uint64(n)
			image, err := fetch.Get(ctx, request)
			took := time.Since(c.start)
			mu.Lock()
			defer mu.Unlock()
			r.Slowest = max(r.Slowest, took)
			if err != nil {
				r.Failures[classOf(err)]++
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
	for _, n := range r.PerSecond {
		r.Requests += n
	}
	return r
}

func classOf(err error) string {
	var classed interface{ Class() string }
	if errors.As(err, &classed) {
		return classed.Class()
	}
	return "failed"
}

// counter counts requests: the engine announces each to its log.
type counter struct {
	start     time.Time
	mu        sync.Mutex
	perSecond []int
}

// Enabled, Handle, WithAttrs and WithGroup are slog.Handler's.
func (c *counter) Enabled(context.Context, slog.Level) bool { return true }

func (c *counter) Handle(_ context.Context, r slog.Record) error {
	if !strings.Contains(r.Message, ": GET ") {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	second := int(time.Since(c.start) / time.Second)
	if missing := second + 1 - len(c.perSecond); missing > 0 {
		c.perSecond = slices.Concat(c.perSecond, make([]int, missing))
	}
	c.perSecond[second]++
	return nil
}

func (c *counter) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *counter) WithGroup(string) slog.Handler      { return c }

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
