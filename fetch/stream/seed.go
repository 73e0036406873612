package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"netstage/fetch/verity"
)

// ErrSeedStalled is the error of a seed that stopped answering.
var ErrSeedStalled = errors.New("reads nothing any more")

// seedRead is how much of a seed is read at once, a multiple of every block.
const seedRead = 1 << 20

// Seed takes from another image every block that is in this one, wherever it
// lies there: an image of yesterday, on a disk that nobody has to trust, since
// a block is known by its digest in the tree. It returns how many bytes of the
// image it brought.
//
// What can't be read is passed over, and told in the error, until there is too
// much of it. What was taken before an error stays. A read that hangs for
// longer than patience is left behind: it takes nothing any more.
func (s *Store) Seed(ctx context.Context, seed io.ReaderAt, size int64, patience time.Duration) (int64, error) {
	w := &seeding{store: s, seed: seed, size: size, index: s.Tree.Index()}
	had := s.Map.Count()
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		readers.Go(w.read)
	}
	go func() { readers.Wait(); close(over) }()

	tick := time.NewTicker(patience)
	defer tick.Stop()
	var err error
	for at := int64(-1); ; {
		select {
		case <-over:
			err = w.failure()
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-tick.C:
			if now := w.done.Load(); now != at {
				at = now
				continue
			}
			err = fmt.Errorf("%w: %d of %d MiB were read", ErrSeedStalled, min(w.done.Load(), size)>>20, size>>20)
		}
		break
	}
	w.stop()
	return (s.Map.Count() - had) * s.blockSize(), err
}

// seeding is a seed that is being read.
type seeding struct {
	store *Store
	seed  io.ReaderAt
	size  int64
	index *verity.Index
	next  atomic.Int64 // byte of the seed that nobody has read yet
	done  atomic.Int64 // bytes read, or passed over

	mu   sync.RWMutex
	over bool  // nothing more is taken
	bad  int   // reads that failed
	err  error // the first
}

// mostBad is how many reads of a seed may fail: of a disk that dies each takes
// seconds.
const mostBad = 8

// stop returns when nothing more is taken.
func (w *seeding) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

func (w *seeding) stopped() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.over
}

func (w *seeding) failure() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.err
}

func (w *seeding) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.over = true
}

// passOver counts a read that failed, and tells whether to go on.
func (w *seeding) passOver(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad++
	if w.err == nil {
		w.err = err
	}
	w.over = w.over || w.bad > mostBad
	return !w.over
}

func (w *seeding) read() {
	sums := w.store.Tree.Blocks()
	buf := make([]byte, seedRead)
	for !w.stopped() && !w.store.Map.Has(0, w.store.Map.Blocks()) {
		at := w.next.Add(seedRead) - seedRead
		if at >= w.size {
			return
		}
		n, err := w.seed.ReadAt(buf[:min(seedRead, w.size-at)], at)
		if err == io.EOF {
			err = nil // it is shorter than it was said to be
		}
		if err != nil {
			if !w.passOver(err) {
				return
			}
		} else if err := w.keepMissing(sums, buf[:n]); err != nil {
			w.fail(err)
			return
		}
		w.done.Add(seedRead)
	}
}

var errOver = errors.New("nothing more is taken")

// keepMissing keeps the blocks in p that are missing.
func (w *seeding) keepMissing(sums *verity.Blocks, p []byte) error {
	size := w.store.blockSize()
	for ; int64(len(p)) >= size; p = p[size:] {
		places := w.index.Find(sums.Sum(p[:size]))
		// All the places of a block are filled at once, in their order.
		if len(places) == 0 || w.has(places[len(places)-1]) {
			continue
		}
		if err := w.put(places, p[:size]); err != nil {
			return err
		}
	}
	return nil
}

func (w *seeding) has(block int32) bool { return w.store.Map.Has(int64(block), int64(block)+1) }

func (w *seeding) put(places []int32, p []byte) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.over {
		return errOver
	}
	for _, block := range places {
		if _, err := w.store.File.WriteAt(p, int64(block)*int64(len(p))); err != nil {
			return fmt.Errorf("keep block %d: %w", block, err)
		}
		w.store.Map.Set(int64(block))
	}
	return nil
}
