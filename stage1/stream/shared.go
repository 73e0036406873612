package stream

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"netstage/fetch/stream"
)

// What the processes share, in words of one file in memory: these, then a bit
// for each block, then for each grain when it was first read.
const (
	wordHanded     = iota // 1: stage 2 runs on it
	wordDone              // 1: the kernel reads from the loop device
	wordStarted           // when, by monotonic
	wordReads             // of the kernel
	wordWaited            // of those, reads that waited
	wordLongest           // wait, in nanoseconds
	wordWaiting           // since when the oldest wait is, by monotonic, 0: none waits
	wordWaitOffset        // of it
	wordReceived          // bytes from servers, by workers that are gone too
	wordTouched           // grains that were read
	wordRestarts          // of the worker
	wordBeat              // the worker's signs of life
	wordSeeding           // 1: the boot takes from a disk what that has
	headWords      = 16
)

// grain is how finely it is noted what was read first.
const grain = 64 << 10

// shared is that memory.
type shared struct {
	file   *os.File
	words  []uint64
	bitmap *stream.Bitmap
	first  []uint64 // of each grain: 0 never read, else its turn
	block  int64
	size   int64
}

func wordsFor(size, block int64) (bitmap, first int64) {
	return stream.Words((size + block - 1) / block), (size + grain - 1) / grain
}

// newShared makes it, for an image of size bytes in blocks.
func newShared(size, block int64) (*shared, error) {
	fd, err := unix.MemfdCreate("netstage-stream", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory to share: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netstage-stream")
	bits, first := wordsFor(size, block)
	if err := file.Truncate((headWords + bits + first) * 8); err != nil {
		file.Close()
		return nil, err
	}
	return openShared(file, size, block)
}

// openShared maps it.
func openShared(file *os.File, size, block int64) (*shared, error) {
	bits, first := wordsFor(size, block)
	total := headWords + bits + first
	mem, err := unix.Mmap(int(file.Fd()), 0, int(total*8), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map memory to share: %w", err)
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), total)
	return &shared{
		file: file, words: words, size: size, block: block,
		bitmap: stream.NewBitmap(words[headWords:headWords+bits], (size+block-1)/block), first: words[headWords+bits:],
	}, nil
}

func (s *shared) get(word int) uint64    { return atomic.LoadUint64(&s.words[word]) }
func (s *shared) set(word int, v uint64) { atomic.StoreUint64(&s.words[word], v) }
func (s *shared) add(word int, v uint64) { atomic.AddUint64(&s.words[word], v) }

// has tells whether n bytes from off on are there.
func (s *shared) has(off, n int64) bool {
	return s.bitmap.Has(off/s.block, (off+n+s.block-1)/s.block)
}

// touch notes that n bytes from off on were read.
func (s *shared) touch(off, n int64) {
	for g := off / grain; g*grain < off+n; g++ {
		if atomic.LoadUint64(&s.first[g]) == 0 {
			atomic.StoreUint64(&s.first[g], atomic.AddUint64(&s.words[wordTouched], 1))
		}
	}
}

// hot is what was read, in its order.
func (s *shared) hot() []stream.Span {
	var grains []int64
	for g := range s.first {
		if atomic.LoadUint64(&s.first[g]) != 0 {
			grains = append(grains, int64(g))
		}
	}
	slices.SortFunc(grains, func(a, b int64) int {
		return int(int64(atomic.LoadUint64(&s.first[a])) - int64(atomic.LoadUint64(&s.first[b])))
	})
	var spans []stream.Span
	for _, g := range grains {
		if n := len(spans); n > 0 && spans[n-1].Off+spans[n-1].Len == g*grain {
			spans[n-1].Len += min(grain, s.size-g*grain)
			continue
		}
		spans = append(spans, stream.Span{Off: g * grain, Len: min(grain, s.size-g*grain)})
	}
	return spans
}

// have is how many bytes of the image are there.
func (s *shared) have() int64 { return min(s.bitmap.Count()*s.block, s.size) }
