package vouch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"netstage/fetch"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
	"netstage/stage1/fault"
)

// A Seed is an image that may hold blocks of the one that is wanted: that of
// yesterday. It is not trusted.
type Seed struct {
	Name string
	File io.ReaderAt
	Size int64
}

// seedPatience is how long one read of a seed may take, and seedRate what all
// of them have to bring in a second: a server is faster than a disk that is
// slower.
const (
	seedPatience = 20 * time.Second
	seedRate     = 16 << 20
)

// seeded gets an image from seeds, as far as they have it, and the rest from
// mirrors. It is false where the seeds have nothing of it, or no mirror can be
// asked for a part.
func (i *Image) seeded(ctx context.Context, o Order, tree *verity.Tree) (done bool, err error) {
	r := o.Fetch
	r.Mirrors, r.Size, r.Checked = o.Images, tree.Size(), true
	if r.What == "" {
		r.What = "image"
	}
	file, err := fetch.Reserve(r, r.Size, r.Size)
	if err != nil {
		return false, err
	}
	defer func() {
		if !done {
			err = errors.Join(err, r.Store.Close())
		}
	}()
	blocks := tree.Superblock().DataBlocks
	store := &stream.Store{File: file, Tree: tree, Map: stream.NewBitmap(make([]uint64, stream.Words(blocks)), blocks)}
	told := reportingProgress(ctx, r, store, func() int64 { return 0 })
	i.fillFromSeeds(ctx, o, store)
	told()
	if store.Map.Count() == 0 || ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err := i.complete(ctx, r, store); err != nil {
		if errors.Is(err, fetch.ErrNoRanges) {
			r.Log.With("what", r.What).Warn("no server can be asked for a part of it: it is fetched whole")
			return false, nil
		}
		return false, err
	}
	if o.SHA256 != nil || r.Digest {
		if i.SHA256, err = digest(ctx, file, r.Size); err != nil {
			return false, err
		}
		if o.SHA256 != nil && !bytes.Equal(i.SHA256, o.SHA256) {
			return false, fault.Errorf(fault.Mismatch, "%s: sha256 is %x, expected %x", o.Images[0], i.SHA256, o.SHA256)
		}
	}
	open, _, err := r.Store.Commit(r.Size)
	if err != nil {
		return false, fmt.Errorf("keep the image: %w", err)
	}
	i.File, i.Source, i.Size = open, o.Images[0].String(), r.Size
	i.close = func() error { return errors.Join(open.Close(), r.Store.Close()) }
	return true, nil
}

// fillFromSeeds tries the seeds in their order. What is wrong with one is told,
// and is nothing more than that. A disk that hangs has no other one tried: they
// lie on it, too.
func (i *Image) fillFromSeeds(ctx context.Context, o Order, store *stream.Store) {
	total := store.Tree.Size()
	limit := seedPatience + time.Duration(total/seedRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it is too slow: %v are over", limit))
	defer cancel()
	log := o.about("image")
	for _, seed := range o.Seeds {
		begun := time.Now()
		took, err := store.Seed(ctx, seed.File, seed.Size, seedPatience)
		i.Seeded += took
		text := fmt.Sprintf("%d of %d MiB are in %s, read in %.1f s", took>>20, total>>20, seed.Name, time.Since(begun).Seconds())
		switch {
		case err != nil && ctx.Err() != nil:
			log.Warn(text+"; it is left", "err", context.Cause(ctx))
			return
		case errors.Is(err, stream.ErrSeedStalled):
			log.Warn(text+"; it is left", "err", err)
			return
		case err != nil:
			log.Warn(text+"; not all could be read", "err", err)
		default:
			log.Info(text)
		}
		if store.Map.Has(0, store.Map.Blocks()) {
			return
		}
	}
}

// besideLimit is how long seeds are read while the image can be used already:
// what comes after it does not wait for a slow disk.
const besideLimit = 30 * time.Second

// fillBeside is fillFromSeeds for an image that comes meanwhile.
func (i *Image) fillBeside(ctx context.Context, o Order, store *stream.Store) {
	ctx, cancel := context.WithTimeoutCause(ctx, besideLimit, fmt.Errorf("after %v servers are faster", besideLimit))
	defer cancel()
	i.fillFromSeeds(ctx, o, store)
}

// complete brings what the seeds did not have.
func (i *Image) complete(ctx context.Context, r fetch.Request, store *stream.Store) error {
	if store.Map.Has(0, store.Map.Blocks()) {
		return nil
	}
	ranges, err := fetch.NewRanges(r)
	if err != nil {
		return err
	}
	defer ranges.Close()
	served, err := ranges.Served(ctx)
	if err != nil {
		return err
	}
	if !served {
		return fetch.ErrNoRanges
	}
	s := stream.New(stream.Config{Store: store, Mirrors: ranges, Parallel: r.Parallel, LowSpeed: r.LowSpeed, Log: r.Log, Changed: func() {}})
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { watch(ctx, cancel, ranges, s, 3*cmp.Or(r.LowSpeed.Window, 10*time.Second), store.Map.Count) })
	told := reportingProgress(ctx, r, store, s.Received)
	if err = s.Run(ctx); err != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	beside.Wait()
	told()
	i.Stats.Received, i.Stats.Duration, i.Stats.Requests = s.Received(), time.Since(begun), max(1, i.Stats.Requests)
	if err == nil {
		r.Log.With("what", r.What).Info(fmt.Sprintf("%.1f MiB from %s in %.1f s, verified", float64(s.Received())/(1<<20), ranges.Name(0), time.Since(begun).Seconds()))
	}
	return err
}

// watch ends a stream of which nothing has come for so long although no server
// is away: they have another image now, or none.
func watch(ctx context.Context, end context.CancelCauseFunc, ranges *fetch.Ranges, s *stream.Stream, still time.Duration, had func() int64) {
	tick := time.NewTicker(still)
	defer tick.Stop()
	for last := int64(-1); ; last = had() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if had() != last {
			continue
		}
		if served, err := ranges.Served(ctx); err != nil {
			end(err)
		} else if served && had() == last {
			end(fault.Errorf(fault.Mismatch, "nothing right comes: %s", s.Why()))
		}
	}
}

// reportingProgress tells the progress until it is ended: how much is there, by
// whatever way, and how fast servers bring it.
func reportingProgress(ctx context.Context, r fetch.Request, store *stream.Store, received func() int64) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var teller sync.WaitGroup
	if r.Progress != nil {
		teller.Go(func() { reportProgress(ctx, r, store, received, time.Now()) })
	}
	return func() { cancel(); teller.Wait() }
}

func reportProgress(ctx context.Context, r fetch.Request, store *stream.Store, received func() int64, begun time.Time) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		have := store.Map.Count() * int64(store.Tree.Superblock().DataBlockSize)
		p := fetch.Progress{What: r.What, Bytes: have, Total: r.Size, ETA: -1, Elapsed: time.Since(begun), Mirrors: []fetch.Mirror{}}
		if seconds := p.Elapsed.Seconds(); seconds > 1 {
			p.Rate = float64(received()) / seconds
		}
		r.Progress(p)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// digest is the SHA-256 of the whole.
func digest(ctx context.Context, file io.ReaderAt, size int64) ([]byte, error) {
	sum := sha256.New()
	for at := int64(0); at < size && ctx.Err() == nil; at += 1 << 20 {
		if _, err := io.Copy(sum, io.NewSectionReader(file, at, min(1<<20, size-at))); err != nil {
			return nil, fmt.Errorf("read the image back: %w", err)
		}
	}
	return sum.Sum(nil), ctx.Err()
}
