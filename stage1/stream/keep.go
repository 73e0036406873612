package stream

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"netstage/mount/nbd"
)

// keeper bounds what of the image is in memory: the grains that were read
// longest ago go first, and are fetched again when they are read. It is the
// holder's, who alone reads the image: nothing goes while it is read.
type keeper struct {
	most   int64 // bytes; 0: no bound
	slack  int64 // that go besides, so that not every byte that comes costs a look at all
	image  *os.File
	shared *shared
	// A ring of the grains with blocks, the last one read first. Its end is the
	// index behind the last grain.
	next, prev []int32
	end        int32
}

func newKeeper(most int64, image *os.File, s *shared) *keeper {
	k := &keeper{most: most, slack: most / 16, image: image, shared: s}
	if most > 0 {
		k.end = int32(len(s.first))
		k.next, k.prev = make([]int32, k.end+1), make([]int32, k.end+1)
		for i := range k.next { // alone, each
			k.next[i], k.prev[i] = int32(i), int32(i)
		}
	}
	return k
}

func (k *keeper) unlink(g int32) {
	k.next[k.prev[g]], k.prev[k.next[g]] = k.next[g], k.prev[g]
	k.next[g], k.prev[g] = g, g
}

func (k *keeper) toFront(g int32) {
	k.unlink(g)
	k.next[g], k.prev[g] = k.next[k.end], k.end
	k.prev[k.next[g]], k.next[k.end] = g, g
}

// touch notes that n bytes from off on were read.
func (k *keeper) touch(off, n int64) {
	if k.most > 0 {
		for g := off / grain; g*grain < off+n; g++ {
			k.toFront(int32(g))
		}
	}
}

// drop drops what is too much, and nothing that somebody waits for.
func (k *keeper) drop(waiting []nbd.Wait) error {
	if k.most <= 0 || k.shared.have() <= k.most {
		return nil
	}
	for g := range k.end { // what has come and was not read is as good as just read
		if k.next[g] == g && k.shared.any(int64(g)) {
			k.toFront(g)
		}
	}
	for g := k.prev[k.end]; g != k.end && k.shared.have() > k.most-k.slack; {
		before := k.prev[g]
		if !waitsFor(waiting, int64(g)) {
			if err := k.shared.drop(k.image, int64(g)); err != nil {
				return fmt.Errorf("drop what was read long ago: %w", err)
			}
			k.unlink(g)
		}
		g = before
	}
	return nil
}

func waitsFor(waiting []nbd.Wait, g int64) bool {
	for i := range waiting {
		if w := &waiting[i]; w.Offset < (g+1)*grain && w.Offset+w.Length > g*grain {
			return true
		}
	}
	return false
}

// grainBlocks are the blocks that begin in a grain.
func (s *shared) grainBlocks(g int64) (first, last int64) {
	return (g*grain + s.block - 1) / s.block, min(((g+1)*grain+s.block-1)/s.block, s.bitmap.Blocks())
}

// any tells whether a block of a grain is there.
func (s *shared) any(g int64) bool {
	first, last := s.grainBlocks(g)
	from, to := s.bitmap.Missing(first, last)
	return to-from < last-first
}

// drop gives the memory of a grain's blocks back. Those that are not there may
// be on their way to the file just now, and stay as they are; those that are
// there nobody writes until their bits are gone, which come last.
func (s *shared) drop(image *os.File, g int64) error {
	at, last := s.grainBlocks(g)
	for at < last {
		from, to := s.bitmap.Missing(at, last)
		if from > at {
			off := at * s.block
			if err := unix.Fallocate(int(image.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, from*s.block-off); err != nil {
				return err
			}
			for b := at; b < from; b++ {
				s.bitmap.Clear(b)
			}
		}
		at = max(to, from)
	}
	return nil
}
