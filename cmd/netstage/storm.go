package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/storm"
	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/nix"
)

const stormHelp = `Has many machines' worth of engines fetch an image at once, as after a power cut,
and tells how a server bears it: successes, bytes, requests per second, and how
the retries spread. The image is verified and not kept. Several URLs are
mirrors. Storm servers of your own.

All clients start at once, which is worse than any power cut: machines that get
power together take longer or shorter until they ask. --spread TIME says how
much longer; the clients start within it, evenly at random.

examples:
  netstage storm --clients 200 http://127.0.0.1:8080/nix-store.squashfs
  netstage storm --clients 1000 --spread 20s --timeout 2m http://10.0.0.1/x.squashfs --sha256 0ssi…`

func newStorm(std streams) *cobra.Command {
	fs := newFlags()
	clients := fs.Int("clients", 100, "how many: `N`")
	var digest string
	givenVar(fs, &digest, "sha256", "the image's SHA-256 `DIGEST`: hex, nix32 or SRI")
	timeout := fs.Duration("timeout", 0, "give up after `TIME`, such as 2m (default never)")
	spread := fs.Duration("spread", 0, "the clients start within `TIME`, such as 20s (default all at once)")
	seed := fs.Uint64("seed", 0, "`NUMBER` of the first client; the rest follow it")
	return newCommand("netstage storm URL … --clients N [FLAGS]", "fetch an image many times at once", stormHelp, fs,
		func(ctx context.Context, urls []string) error {
			var err error
			switch {
			case len(urls) == 0:
				return usageError("what? Give URL")
			case *clients < 1:
				return usageError("--clients is one or more")
			case *spread < 0:
				return usageError("--spread is not below zero")
			}
			var mirrors []ref.Location
			for _, text := range urls {
				l, err := ref.ParseURL(text)
				if err != nil {
					return usageError(err.Error())
				}
				mirrors = append(mirrors, l)
			}
			request := fetch.Request{Mirrors: mirrors, UserAgent: "netstage/" + version, Seed: *seed}
			if digest != "" {
				if request.SHA256, err = nix.ParseSHA256(digest); err != nil {
					return usageError("--sha256: " + err.Error())
				}
			}
			if *timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, *timeout)
				defer cancel()
			}
			report := storm.Run(ctx, storm.Options{Clients: *clients, Fetch: request, Spread: *spread})
			describeStorm(std.out, report, *spread)
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return context.Canceled
			}
			if failed := report.Clients - report.Succeeded; failed > 0 {
				return fmt.Errorf("%d of %d clients have no image", failed, report.Clients)
			}
			return nil
		})
}

func describeStorm(w io.Writer, r storm.Report, spread time.Duration) {
	started := "all started at once"
	if spread > 0 {
		started = fmt.Sprintf("they started within %v", spread)
	}
	fmt.Fprintf(w, "%d of %d clients have the image; %s, the last ended after %.1f s\n", r.Succeeded, r.Clients, started, r.Slowest.Seconds())
	for _, class := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(w, "%d failed: %s\n", r.Failures[class], class)
	}
	seconds := max(r.Took.Seconds(), 1e-3)
	fmt.Fprintf(w, "%.1f MiB received, %.1f MiB/s; %d requests, %d retries, %.1f requests/s\n",
		mib(r.Bytes), mib(r.Bytes)/seconds, r.Requests, r.Retries, float64(r.Requests)/seconds)
	if len(r.PerSecond) < 2 {
		return
	}
	peak, times := r.Peak()
	retries, timesRetries := r.PeakRetries()
	fmt.Fprintf(w, "in one second at most %d requests, %.1f times the mean, and %d retries, %.1f times their mean (o: starts, #: retries):\n",
		peak, times, retries, timesRetries)
	const width = 50
	for second, s := range r.PerSecond {
		bar := func(mark string, n int) string { return strings.Repeat(mark, (n*width+peak-1)/peak) }
		fmt.Fprintf(w, "%6v %6d %s\n", time.Duration(second)*time.Second, s.Starts+s.Retries, bar("o", s.Starts)+bar("#", s.Retries))
	}
}
