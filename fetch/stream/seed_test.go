package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// patient is longer than any read of a test.
const patient = time.Minute

// seedBy gives the store a seed, and has the rest come from mirrors. It returns
// what the seed brought and what was asked of the mirrors, in bytes.
func (w *world) seedBy(t *testing.T, seed []byte) (took, asked int64) {
	t.Helper()
	took, err := w.store.Seed(t.Context(), bytes.NewReader(seed), int64(len(seed)), patient)
	if err != nil {
		t.Fatal(err)
	}
	if err := New(w.config()).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(w.image))
	if _, err := w.file.ReadAt(got, 0); err != nil || !bytes.Equal(got, w.image) {
		t.Errorf("the image is not right: %v", err)
	}
	for _, span := range w.asked {
		asked += span.Len
	}
	return took, asked
}

func TestSeed(t *testing.T) {
	const blocks = 1500 // 5.9 MB, more than is read at once
	size := int64(blocks * block)
	for _, c := range []struct {
		name        string
		seed        func(image []byte) []byte
		took, asked int64
	}{
		{"the same image", func(b []byte) []byte { return b }, size, 0},
		{"nothing", func([]byte) []byte { return nil }, 0, size},
		{"an image of something else", func(b []byte) []byte { return make([]byte, len(b)) }, 0, size},
		{"all lies a block further", func(b []byte) []byte { return append(make([]byte, block), b...) }, size, 0},
		{"all lies half a block further", func(b []byte) []byte { return append(make([]byte, block/2), b...) }, 0, size},
		{"one bit is another", func(b []byte) []byte { b[700*block+17] ^= 1; return b }, size - block, block},
		{"cut off in the middle of a block", func(b []byte) []byte { return b[:1000*block+5] }, 1000 * block, 500 * block},
		{"longer", func(b []byte) []byte { return append(b, make([]byte, 3<<20)...) }, size, 0},
		{"blocks in another order", func(b []byte) []byte {
			rand.New(rand.NewPCG(1, 1)).Shuffle(blocks, func(i, j int) {
				x, y := b[i*block:][:block], b[j*block:][:block]
				for k := range x {
					x[k], y[k] = y[k], x[k]
				}
			})
			return b
		}, size, 0},
		// What lies between two missing blocks is asked for again where that is
		// less than another request.
		{"two blocks near each other are missing", func(b []byte) []byte { clear(b[10*block:][:block]); clear(b[13*block:][:block]); return b },
			size - 2*block, 4 * block},
		{"two blocks far from each other are missing", func(b []byte) []byte { clear(b[10*block:][:block]); clear(b[100*block:][:block]); return b },
			size - 2*block, 2 * block},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, blocks, 1)
			took, asked := w.seedBy(t, c.seed(bytes.Clone(w.image)))
			if took != c.took || asked != c.asked {
				t.Errorf("took %d of %d, asked for %d of %d", took, c.took, asked, c.asked)
			}
		})
	}
}

// A block that the image has many times comes once.
func TestSeedOfRepeatedBlocks(t *testing.T) {
	w := newWorldOf(t, bytes.Repeat([]byte("12345678"), 2000*block/8), 1)
	took, asked := w.seedBy(t, w.image[:block])
	if took != 2000*block || asked != 0 {
		t.Errorf("took %d, asked for %d", took, asked)
	}
}

// disk is a seed whose reads can fail.
type disk struct {
	image []byte
	read  func(at int64) error
}

func (d disk) ReadAt(p []byte, at int64) (int, error) {
	if err := d.read(at); err != nil {
		return 0, err
	}
	n := copy(p, d.image[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestSeedThatFails(t *testing.T) {
	bad := errors.New("medium error")
	w := newWorld(t, 1500, 1)
	took, err := w.store.Seed(t.Context(), disk{w.image, func(at int64) error {
		if at >= 4<<20 {
			return bad
		}
		return nil
	}}, int64(len(w.image)), patient)
	if !errors.Is(err, bad) || took > 4<<20 {
		t.Errorf("%d bytes, %v", took, err)
	}
	if took, asked := w.seedBy(t, nil); took != 0 || asked < 1500*block-4<<20 {
		t.Errorf("then %d bytes, %d asked for", took, asked)
	}
}

// A spot that can't be read costs what lies there, and no more.
func TestSeedWithBadSpots(t *testing.T) {
	w := newWorld(t, 1500, 1)
	bad := errors.New("medium error")
	took, err := w.store.Seed(t.Context(), disk{w.image, func(at int64) error {
		if at == 1<<20 || at == 4<<20 {
			return bad
		}
		return nil
	}}, int64(len(w.image)), patient)
	if want := int64(len(w.image)) - 2*seedRead; !errors.Is(err, bad) || took != want {
		t.Errorf("%d bytes of %d, %v", took, want, err)
	}
}

// A disk that hangs is left behind, and changes nothing when it wakes up.
func TestSeedThatHangs(t *testing.T) {
	w := newWorld(t, 1500, 1)
	wake, woken := make(chan struct{}), make(chan struct{}, 10)
	took, err := w.store.Seed(t.Context(), disk{w.image, func(at int64) error {
		<-wake
		defer func() { woken <- struct{}{} }()
		return nil
	}}, int64(len(w.image)), 50*time.Millisecond)
	if !errors.Is(err, ErrSeedStalled) || took != 0 {
		t.Errorf("%d bytes, %v", took, err)
	}
	close(wake)
	<-woken
	if took, asked := w.seedBy(t, nil); took != 0 || asked != 1500*block {
		t.Errorf("then %d bytes, %d asked for", took, asked)
	}
}

func TestSeedIsCancelled(t *testing.T) {
	w := newWorld(t, 1500, 1)
	ctx, cancel := context.WithCancel(t.Context())
	wake := make(chan struct{})
	defer close(wake)
	_, err := w.store.Seed(ctx, disk{w.image, func(at int64) error { cancel(); <-wake; return nil }}, int64(len(w.image)), patient)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func BenchmarkSeed(b *testing.B) {
	w := newWorld(b, 16384, 1)
	b.SetBytes(int64(len(w.image)))
	for b.Loop() {
		clear(w.store.Map.words)
		if _, err := w.store.Seed(b.Context(), bytes.NewReader(w.image), int64(len(w.image)), patient); err != nil {
			b.Fatal(err)
		}
	}
}
