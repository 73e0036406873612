package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch/kept"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/stage1/cmdline"
	"netstage/stage1/config"
	getter "netstage/stage1/image"
)

// Fetched is what an agent is sent of one edition whose cache disk has another.
type Fetched struct {
	Image, Tree int64 // bytes
	Requests    int64 // for the image
}

// Fetch gets an edition as an agent does. Its disk is a folder.
func Fetch(ctx context.Context, dir string, had, wanted Edition) (Fetched, error) {
	dir, err := os.MkdirTemp(dir, "fetched-")
	if err != nil {
		return Fetched{}, err
	}
	defer os.RemoveAll(dir)
	if err := keepEdition(ctx, dir, had); err != nil {
		return Fetched{}, err
	}
	var image, tree, requests atomic.Int64
	files := http.FileServer(http.Dir(filepath.Dir(wanted.Path)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".verity") {
			files.ServeHTTP(countedWriter{w, &tree}, r)
			return
		}
		requests.Add(1)
		files.ServeHTTP(countedWriter{w, &image}, r)
	}))
	defer server.Close()
	c, wrong := config.Parse(cmdline.Parse(fmt.Sprintf("rootfs=%s/%s roothash=%x rootfs.cache.disk=LABEL=cache", server.URL, filepath.Base(wanted.Path), wanted.RootHash)), nil)
	if len(wrong) > 0 {
		return Fetched{}, errors.Join(wrong...)
	}
	var log bytes.Buffer
	g := getter.Getter{
		Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&log))), Config: c, Initrd: dir, Agent: "netstage/bench", Media: folder(dir), Cache: folder(dir),
		Network: &getter.Network{MAC: make(net.HardwareAddr, 6), Dial: new(net.Dialer).DialContext},
		Store:   func() store.Store { return store.File(filepath.Join(dir, "fetched")) },
	}
	got, err := g.Get(ctx)
	if err != nil {
		return Fetched{}, fmt.Errorf("%w\n%s", err, &log)
	}
	defer got.Close()
	same, err := equal(got.File, wanted.Path)
	if err == nil && !same {
		err = errors.New("another image came")
	}
	return Fetched{image.Load(), tree.Load(), requests.Load()}, err
}

func keepEdition(ctx context.Context, dir string, e Edition) error {
	disk, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	image, err := os.Open(e.Path)
	if err != nil {
		return err
	}
	defer image.Close()
	tree, err := os.Open(e.Path + ".verity")
	if err != nil {
		return err
	}
	defer tree.Close()
	info, err := tree.Stat()
	if err != nil {
		return err
	}
	return kept.Keep(ctx, disk, kept.Image{
		Record: kept.Record{Name: "web", Kept: time.Now(), Seen: time.Now(), Size: e.Size, TreeSize: info.Size(), RootHash: e.RootHash},
		File:   image, Tree: tree,
	})
}

// equal tells whether a file that is open has the content of another.
func equal(got io.Reader, want string) (bool, error) {
	f, err := os.Open(want)
	if err != nil {
		return false, err
	}
	defer f.Close()
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(f, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return true, nil
		}
	}
}

// A folder is a disk that is mounted already.
type folder string

func (f folder) Path(_ context.Context, l ref.Location) (string, error) {
	return string(f) + l.Path, nil
}
func (folder) Close() error { return nil }

type countedWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n))
	return n, err
}
