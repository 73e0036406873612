package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"netstage/cmd/netstage/internal/registry"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
)

// fromFlags are those of "netstage serve" about a registry.
type fromFlags struct {
	ref, cache, rules, platform string
	poll                        time.Duration
	size                        int64
	registry                    registryFlags
}

func (f *fromFlags) flags(fs *pflag.FlagSet) {
	givenVar(fs, &f.ref, "from", "machines boot what the registry has at `REF`, oci://HOST/NAME[:TAG]")
	fs.StringVar(&f.cache, "cache", "", "with --from: keep kernels and initrds in `DIR` (default netstage in the user's cache)")
	fs.Func("cache-size", "with --from: keep no more than `BYTES` in the cache, such as 20G (default half of the room on its file system)", func(word string) (err error) {
		f.size, err = parseBytes(word)
		return err
	})
	fs.StringVar(&f.rules, "rules", "", "with --from: the `FILE` that says which machine boots which tag")
	fs.StringVar(&f.platform, "platform", "", "with --from: machines are `OS/ARCH[/VARIANT]` (default this host's)")
	fs.DurationVar(&f.poll, "poll", 30*time.Second, "with --from: ask what tags mean every `DURATION`")
	f.registry.flags(fs)
}

// How long the registry may take: before machines are served what is known, and
// then, when nobody waits.
const (
	firstAnswer = 10 * time.Second
	anyAnswer   = 10 * time.Minute
)

// start asks the registry for the first time, and then again and again until
// the function that it returns is called.
func (f *fromFlags) start(ctx context.Context, o *netboot.Options) (stop func(), err error) {
	from, err := artifact(f.ref)
	if err != nil {
		return nil, err
	}
	if f.poll < time.Second {
		return nil, usageError("--poll: want a second at least")
	}
	if f.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, usageError("where to keep kernels and initrds? Give --cache DIR")
		}
		f.cache = filepath.Join(dir, "netstage")
	}
	source := &registry.Source{From: from, Dir: f.cache, Size: f.size, Log: o.Log, Rules: f.readRules, Order: func(a ref.Artifact) (vouch.Order, error) {
		order, err := f.registry.order(a, f.platform)
		order.Fetch.Log = slog.New(slog.DiscardHandler) // it is asked every few seconds
		return order, err
	}}
	if err := source.Open(); err != nil {
		return nil, err
	}
	if _, err := f.readRules(); err != nil {
		return nil, err
	}
	// The engine would ask a registry that is down for ever.
	refresh := func(ctx context.Context, limit time.Duration) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := source.Refresh(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			o.Log.Warn(err.Error())
		}
	}
	refresh(ctx, firstAnswer)
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(f.poll):
			}
			refresh(ctx, anyAnswer)
		}
	})
	o.Dir, o.Source, o.Reading = f.cache, source.Boot, source.Reading
	return func() { cancel(); asking.Wait() }, nil
}

// readRules reads which machine boots which tag; none without a file.
func (f *fromFlags) readRules() (map[string]string, error) {
	if f.rules == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.rules)
	if err != nil {
		return nil, err
	}
	return registry.ParseRules(string(text))
}
