package verity

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// However many check a tree, one wrong bit is found, in any level and wherever a
// worker's share begins or ends, and of several the first is named.
func TestOpenFindsAnyWrongBit(t *testing.T) {
	const blocks = 128*128 + 1 // levels of 129, 2 and 1 hash blocks
	tree, root := build(t, imageBytes(blocks*512), Options{DataBlockSize: 512, Salt: []byte("salt")})
	s, err := ParseSuperblock(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{1, 2, 3, 8, 200} {
		if _, err := open(tree, root, workers); err != nil {
			t.Fatalf("%d workers: %v", workers, err)
		}
		for i, l := range s.levels() {
			share := (l.blocks + int64(workers) - 1) / int64(workers)
			for n := int64(0); n < l.blocks; n++ {
				if n%share != 0 && n%share != share-1 && n != l.blocks-1 {
					continue // neither the first nor the last of a share
				}
				for _, at := range []int64{0, 4095} {
					bad := bytes.Clone(tree)
					for _, also := range []int64{n, l.blocks - 1} {
						bad[(l.first+also)*4096+at] ^= 1
						if n == l.blocks-1 {
							break
						}
					}
					_, err := open(bad, root, workers)
					var m *MismatchError
					if want := fmt.Sprintf("hash block %d of level %d of the verity tree", n, i); !errors.As(err, &m) || m.What != want {
						t.Fatalf("%d workers, byte %d: %v, want %s", workers, at, err, want)
					}
				}
			}
		}
	}
}

// BenchmarkOpen checks the tree of an image of a gigabyte by one processor and
// by all of them, in turn.
func BenchmarkOpen(b *testing.B) {
	// The tree's size goes by the blocks, whatever theirs is.
	const blocks = 1 << 30 / 4096
	var file bytes.Buffer
	root, err := Build(bytes.NewReader(make([]byte, blocks*512)), blocks*512, &file, Options{DataBlockSize: 512})
	if err != nil {
		b.Fatal(err)
	}
	var took [2]time.Duration // the least, as others use this host, too
	for b.Loop() {
		for i, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			began := time.Now()
			if _, err := open(file.Bytes(), root, workers); err != nil {
				b.Fatal(err)
			}
			if d := time.Since(began); took[i] == 0 || d < took[i] {
				took[i] = d
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[0].Seconds()*1000, "one-ms")
	b.ReportMetric(took[1].Seconds()*1000, "all-ms")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
}
