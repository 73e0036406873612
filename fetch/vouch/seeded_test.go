package vouch

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
)

const seedBlock = 4096

// varied is a world whose blocks all differ.
func varied(t *testing.T) *world {
	w := newWorld(t, "image")
	_, _ = rand.NewChaCha8([32]byte{9}).Read(w.content)
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(w.content), int64(len(w.content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	w.tree, w.root = tree.Bytes(), root
	return w
}

func seedOf(b []byte) Seed {
	return Seed{Name: "yesterday's", File: bytes.NewReader(b), Size: int64(len(b))}
}

func (w *world) orderSeeded(t *testing.T, s *faulty.Server, seeds ...Seed) (Order, *bytes.Buffer) {
	o, log := order(t)
	o.Images, o.RootHash, o.Seeds = []ref.Location{mustURL(t, s.URL("dir/image"))}, w.root, seeds
	o.Fetch.LowSpeed = pace.LowSpeedLimit{Bytes: 1, Window: 50 * time.Millisecond}
	return o, log
}

func mustURL(t *testing.T, s string) ref.Location {
	t.Helper()
	l, err := ref.ParseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// asked is how many requests there were for the image, without the tree's.
func asked(s *faulty.Server) (n int) {
	for _, r := range s.Log() {
		if !strings.HasSuffix(r.Path, ".verity") {
			n++
		}
	}
	return n
}

func TestSeeds(t *testing.T) {
	w := varied(t)
	changed := bytes.Clone(w.content)
	for i := range 20 {
		changed[(10+i)*seedBlock] ^= 1
	}
	for _, c := range []struct {
		name     string
		seeds    []Seed
		seeded   int64
		received int64
	}{
		{"the same", []Seed{seedOf(w.content)}, int64(len(w.content)), 0},
		{"twenty blocks changed", []Seed{seedOf(changed)}, int64(len(w.content)) - 20*seedBlock, 20 * seedBlock},
		{"the second has what the first has not", []Seed{seedOf(changed), seedOf(w.content[:40*seedBlock])}, int64(len(w.content)), 0},
		{"one that fails, one that is right", []Seed{{"broken", failing{}, 1 << 20}, seedOf(w.content)}, int64(len(w.content)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.serve(t)
			o, log := w.orderSeeded(t, s, c.seeds...)
			o.Fetch.Digest = true
			i := w.mustGet(t, o)
			if i.Seeded != c.seeded || i.Stats.Received != c.received {
				t.Errorf("%d seeded, %d received; want %d and %d\n%s", i.Seeded, i.Stats.Received, c.seeded, c.received, log)
			}
			if c.received == 0 && asked(s) > 0 {
				t.Errorf("the image was asked for: %+v", s.Log())
			}
		})
	}
}

// Of an image that can be used while it comes, seeds give what they have before
// the rest comes; without a store for it they are left.
func TestSeedsOfAStream(t *testing.T) {
	w := varied(t)
	had := len(w.content)/seedBlock - 20
	for _, stored := range []bool{true, false} {
		o, log := w.orderSeeded(t, w.serve(t), seedOf(w.content[:had*seedBlock]))
		file, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		var into *stream.Store
		ready, ended := int64(-1), false
		o.Stream = func(_ context.Context, s Streamed) (*Streaming, error) {
			blocks := s.Checked.Superblock().DataBlocks
			into = &stream.Store{File: file, Tree: s.Checked, Map: stream.NewBitmap(make([]uint64, stream.Words(blocks)), blocks)}
			live := &Streaming{
				File: file, End: func() error { ended = true; return file.Close() },
				Ready: func(context.Context) error { ready = into.Map.Count(); return nil },
			}
			if !s.Seeded {
				t.Error("the stream does not know of the seeds")
			}
			if stored {
				live.Store = into
			}
			return live, nil
		}
		want := int64(had)
		if !stored {
			want = 0
		}
		i, err := Get(soon(t), o)
		if err != nil {
			t.Fatal(err)
		}
		if i.Seeded != want*seedBlock || ready != want {
			t.Errorf("stored %v: %d bytes seeded, %d blocks before the rest, want %d\n%s", stored, i.Seeded, ready, want, log)
		}
		if err := i.Close(); err != nil || !ended {
			t.Errorf("it was not given up, %v", err)
		}
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("medium error") }

// Seeds that have nothing leave the download as it is without them.
func TestSeedsOfNoUse(t *testing.T) {
	w := varied(t)
	s := w.serve(t)
	o, _ := w.orderSeeded(t, s, seedOf(bytes.Repeat([]byte("other"), 1<<18)))
	if i := w.mustGet(t, o); i.Seeded != 0 || i.Stats.Requests == 0 {
		t.Errorf("%+v", i.Stats)
	}
	// Nor does a server without ranges get in the way.
	s = w.serve(t, faulty.Behaviour{NoRanges: true, Times: -1})
	o, log := w.orderSeeded(t, s, seedOf(w.content[:100*seedBlock]))
	w.mustGet(t, o)
	if !strings.Contains(log.String(), "it is fetched whole") {
		t.Error(log)
	}
	// Without a tree nothing tells which blocks are whose.
	s = w.serve(t)
	o, _ = w.orderSeeded(t, s, seedOf(w.content))
	o.RootHash = nil
	if i := w.mustGet(t, o); i.Seeded != 0 {
		t.Errorf("%d bytes are taken unverified", i.Seeded)
	}
}

// A pinned digest of the whole holds as well.
func TestSeededDigest(t *testing.T) {
	w := varied(t)
	s := w.serve(t)
	o, _ := w.orderSeeded(t, s, seedOf(w.content))
	o.SHA256 = bytes.Repeat([]byte{1}, 32)
	mustRefuse(t, o, "mismatch", "sha256 is")
}

// The server has another image by the time the rest is asked for, or none.
func TestSeededFromAnother(t *testing.T) {
	w := varied(t)
	other := bytes.Clone(w.content)
	for i := 0; i < len(other); i += seedBlock {
		other[i] ^= 1
	}
	seed := seedOf(w.content[:100*seedBlock])
	s := w.serve(t)
	s.Add("dir/image", other)
	o, _ := w.orderSeeded(t, s, seed)
	mustRefuse(t, o, "mismatch", "nothing right comes")

	s = w.serve(t, faulty.Behaviour{Status: 404, Times: -1})
	o, _ = w.orderSeeded(t, s, seed)
	mustRefuse(t, o, "http-404", "404")

	// One that is away comes back.
	s = w.serve(t, faulty.Behaviour{Status: 503, Times: 2})
	o, _ = w.orderSeeded(t, s, seed)
	if i := w.mustGet(t, o); i.Seeded != 100*seedBlock {
		t.Errorf("%d seeded", i.Seeded)
	}
}

// sleepy is a disk that takes so long for each read.
type sleepy struct {
	time.Duration
	asked *atomic.Int64
}

func (s sleepy) ReadAt(p []byte, _ int64) (int, error) {
	s.asked.Add(1)
	time.Sleep(s.Duration)
	return len(p), nil
}

// Seeds that are slow, hang or have no end cost a known time, and where one
// hangs the others are not tried.
func TestSeedsHaveALimit(t *testing.T) {
	w := varied(t)
	for name, c := range map[string]struct {
		read, least, most time.Duration
		second            bool
	}{
		"slow":  {4 * time.Second, 20 * time.Second, 25 * time.Second, false},
		"hangs": {time.Hour, 20 * time.Second, 45 * time.Second, false},
		"quick": {time.Millisecond, 0, 10 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tree, err := verity.Read(bytes.NewReader(w.tree), w.root)
				if err != nil {
					t.Fatal(err)
				}
				blocks := tree.Superblock().DataBlocks
				store := &stream.Store{Tree: tree, Map: stream.NewBitmap(make([]uint64, stream.Words(blocks)), blocks)}
				var first, second atomic.Int64
				o, _ := order(t)
				o.Seeds = []Seed{{"first", sleepy{c.read, &first}, 1 << 30}, {"second", sleepy{c.read, &second}, 1 << 30}}
				begun := time.Now()
				new(Image).fillFromSeeds(t.Context(), o, store)
				if took := time.Since(begun); took < c.least || took > c.most || (second.Load() > 0) != c.second {
					t.Errorf("it took %v, of the second %d reads", took, second.Load())
				}
				time.Sleep(2 * time.Hour) // until the last reader is home
			})
		})
	}
}
