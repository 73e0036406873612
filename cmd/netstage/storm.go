package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"netstage/cmd/netstage/storm"
	"netstage/fetch"
	"netstage/nix"
)

const stormHelp = `Has many machines' worth of engines fetch an image at once, as after a power cut,
and tells how a server bears it: successes, bytes, requests per second, and how
the retries spread. The image is verified and not kept. Several URLs are
mirrors. Storm servers of your own.

examples:
  netstage storm --clients 200 http://127.0.0.1:8080/nix-store.squashfs
  netstage storm --clients 1000 --timeout 2m http://10.0.0.1/x.squashfs --sha256 0ssi…`

func newStorm(std streams) *ffcli.Command {
	fs := newFlags("storm")
	clients := fs.Int("clients", 100, "how many: `N`")
	digest := fs.String("sha256", "", "the image's SHA-256 `DIGEST`: hex, nix32 or SRI")
	timeout := fs.Duration("timeout", 0, "give up after `TIME`, such as 2m (default never)")
	seed := fs.Uint64("seed", 0, "`NUMBER` of the first client; the rest follow it")
	return &ffcli.Command{
		Name: "storm", ShortUsage: "netstage storm URL … --clients N [FLAGS]", ShortHelp: "fetch an image many times at once",
		LongHelp: stormHelp, FlagSet: fs,
		Exec: func(ctx context.Context, args []string) error {
			urls, err := operands(fs, args)
			switch {
			case err != nil:
				return err
			case len(urls) == 0:
				return usageError("what? Give URL")
			case *clients < 1:
				return usageError("--clients is one or more")
			}
			request := fetch.Request{URLs: urls, UserAgent: "netstage/" + version, Seed: *seed}
			if *digest != "" {
				if request.SHA256, err = nix.ParseSHA256(*digest); err != nil {
					return usageError("--sha256: " + err.Error())
				}
			}
			if *timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, *timeout)
				defer cancel()
			}
			report := storm.Run(ctx, storm.Options{Clients: *clients, Fetch: request})
			describeStorm(std.out, report)
			if context.Cause(ctx) == context.Canceled {
				return context.Canceled
			}
			if failed := report.Clients - report.Succeeded; failed > 0 {
				return fmt.Errorf("%d of %d clients have no image", failed, report.Clients)
			}
			return nil
		},
	}
}

func describeStorm(w io.Writer, r storm.Report) {
	fmt.Fprintf(w, "%d of %d clients have the image; the last ended after %.1f s\n", r.Succeeded, r.Clients, r.Slowest.Seconds())
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
	fmt.Fprintf(w, "after the first second at most %d requests in one, %.1f times the mean:\n", peak, times)
	const width = 50
	most := slices.Max(r.PerSecond)
	for second, n := range r.PerSecond {
		fmt.Fprintf(w, "%6v %6d %s\n", time.Duration(second)*time.Second, n, strings.Repeat("#", (n*width+most-1)/most))
	}
}
