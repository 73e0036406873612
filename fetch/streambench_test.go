package fetch

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/store"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
)

// BenchmarkStream brings an image over a shaped link whole, and as a stream of
// which nobody reads anything, in turn, and tells the seconds of each, their
// ratio, and the bytes that the stream received for each of the image.
func BenchmarkStream(b *testing.B) {
	for _, c := range []struct {
		rate string
		mib  int64
	}{{"100mbit", 50}, {"1gbit", 600}} {
		b.Run(c.rate, func(b *testing.B) {
			l := newShapedLink(b, c.rate)
			tree := l.serve(b, imageBytes(int(c.mib<<20)))
			request := Request{
				Mirrors: mirrors(fmt.Sprintf("http://%s/image", shapedServer)), Size: tree.Size(), Log: slog.New(slog.DiscardHandler),
				Dial: l.dial,
			}
			var whole, streamed []float64
			for b.Loop() {
				whole = append(whole, wholeSeconds(b, request, tree))
				seconds, received := streamedSeconds(b, request, tree)
				streamed = append(streamed, seconds)
				b.ReportMetric(float64(received)/float64(tree.Size()), "received/byte")
			}
			b.ReportMetric(median(whole), "whole-s")
			b.ReportMetric(median(streamed), "streamed-s")
			b.ReportMetric(median(streamed)/median(whole), "x-of-whole")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func wholeSeconds(b *testing.B, r Request, tree *verity.Tree) float64 {
	b.Helper()
	dir := tmpfs(b, "size=90%")
	r.Verify, r.Store = tree.Verifier(2), store.Memory(filepath.Join(dir, "m"))
	image, err := Get(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	seconds := image.Stats.Duration.Seconds()
	if err := image.Close(); err != nil {
		b.Fatal(err)
	}
	_ = unix.Unmount(dir, unix.MNT_DETACH)
	return seconds
}

func streamedSeconds(b *testing.B, r Request, tree *verity.Tree) (seconds float64, received int64) {
	b.Helper()
	dir := tmpfs(b, "size=90%")
	file, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	defer file.Close()
	if err := file.Truncate(tree.Size()); err != nil {
		b.Fatal(err)
	}
	r.Checked = true
	ranges, err := NewRanges(r)
	if err != nil {
		b.Fatal(err)
	}
	blocks := tree.Superblock().DataBlocks
	s := stream.New(stream.Config{
		Store:   &stream.Store{File: file, Tree: tree, Map: stream.NewBitmap(make([]uint64, stream.Words(blocks)), blocks)},
		Mirrors: ranges, Log: r.Log, Changed: func() {},
	})
	start := time.Now()
	if err := s.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	return time.Since(start).Seconds(), s.Received()
}
