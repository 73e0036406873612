package stream

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/mount/nbd"
)

// memory is an image in memory, and what is shared about it.
func memory(t *testing.T, size, block int64) (*os.File, *shared) {
	t.Helper()
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	image := os.NewFile(uintptr(fd), "image")
	t.Cleanup(func() { image.Close() })
	if err := image.Truncate(size); err != nil {
		t.Fatal(err)
	}
	s, err := newShared(size, block)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.file.Close() })
	return image, s
}

// bring writes a block as a worker does.
func bring(t *testing.T, image *os.File, s *shared, b int64) {
	if s.bitmap.Has(b, b+1) {
		return
	}
	if _, err := image.WriteAt(blockOf(b, s.block), b*s.block); err != nil {
		t.Error(err)
	}
	s.bitmap.Set(b)
}

func blockOf(b, size int64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(b)+1), int(size/8))
}

// What was read longest ago goes first; what came and was not read yet, and
// what somebody waits for, stays.
func TestLeastRecentlyReadGoesFirst(t *testing.T) {
	const block = 4096
	image, s := memory(t, 64*grain, block)
	k := newKeeper(16*grain, image, s)
	there := func(g int64) bool { return s.has(g*grain, grain) }
	fill := func(g int64) {
		for b := g * grain / block; b < (g+1)*grain/block; b++ {
			bring(t, image, s, b)
		}
	}
	for g := range int64(16) {
		fill(g)
		k.touch(g*grain, 1)
	}
	k.touch(0, 1) // again
	fill(40)      // not read yet
	waiting := []nbd.Wait{{Request: nbd.Request{Offset: 2*grain + 5, Length: 1}}}
	if err := k.drop(waiting); err != nil {
		t.Fatal(err)
	}
	for g, want := range map[int64]bool{0: true, 1: false, 2: true, 3: false, 4: true, 15: true, 40: true} {
		if there(g) != want {
			t.Errorf("grain %d is there: %t", g, !want)
		}
	}
	if have := s.have(); have > 16*grain {
		t.Errorf("%d bytes are kept", have)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(image.Fd()), &stat); err != nil || stat.Blocks*512 != s.have() {
		t.Errorf("the file has %d bytes of memory, %d are there, %v", stat.Blocks*512, s.have(), err)
	}
}

// Whatever is dropped while blocks come, nothing is read that is not the
// image's; also where blocks are smaller than pages.
func TestNothingDroppedIsRead(t *testing.T) {
	for _, block := range []int64{4096, 1024} {
		const size = 48*grain + 2048
		image, s := memory(t, size, block)
		k := newKeeper(16*grain, image, s)
		var stop atomic.Bool
		var workers sync.WaitGroup
		for n := range uint64(2) {
			workers.Go(func() {
				// Of one worker each: two never write the same block at once.
				random := rand.New(rand.NewPCG(n, 1))
				for !stop.Load() {
					b := random.Int64N(s.bitmap.Blocks())/2*2 + int64(n)
					if b < s.bitmap.Blocks() {
						bring(t, image, s, b)
					}
				}
			})
		}
		random := rand.New(rand.NewPCG(9, 9))
		read := 0
		for tries := 0; read < 20000 && tries < 5_000_000; tries++ {
			b := random.Int64N(s.bitmap.Blocks())
			if s.has(b*block, min(block, size-b*block)) {
				got := make([]byte, block)
				if _, err := image.ReadAt(got, b*block); err != nil || !bytes.Equal(got, blockOf(b, block)) {
					t.Fatalf("block %d: %x…, %v", b, got[:8], err)
				}
				k.touch(b*block, block)
				read++
			}
			if err := k.drop(nil); err != nil {
				t.Fatal(err)
			}
		}
		stop.Store(true)
		workers.Wait()
		if read < 1000 {
			t.Errorf("only %d blocks were read", read)
		}
	}
}
