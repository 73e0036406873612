package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The last bytes of a body come late, fewer than a batch, on a connection that
// stays open: they are read as they come, and nothing counts as stalled.
func TestTailIsNotWaitedFor(t *testing.T) {
	image := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	tail := batch / 3
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1048576")
		for _, part := range [][]byte{image[:len(image)-2*tail], image[len(image)-2*tail : len(image)-tail], image[len(image)-tail:]} {
			w.Write(part)
			w.(http.Flusher).Flush()
			select {
			case <-arrived: // the client has all
			case <-time.After(100 * time.Millisecond):
			}
		}
		<-arrived // an answer that does not end with the connection
	}))
	defer server.Close()
	defer close(arrived)
	sum := sha256.Sum256(image)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := Get(ctx, Request{
		Mirrors: mirrors(server.URL), SHA256: sum[:], Store: File(filepath.Join(t.TempDir(), "image")),
		Log: slog.New(slog.DiscardHandler), Floor: Floor{Bytes: 1, Window: 5 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if all, err := io.ReadAll(got.File); err != nil || !bytes.Equal(all, image) || got.Stats.Retries != 0 {
		t.Errorf("%d bytes, %v, %d retries", len(all), err, got.Stats.Retries)
	}
}

// From far away no batches are asked for: the kernel would keep the window to one.
func TestBatchesAreForNearbyServers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	for delay, want := range map[time.Duration]bool{0: true, 20 * time.Millisecond: false} {
		l := newLink(t, delay, 0)
		var listener net.Listener
		var err error
		if e := l.in(func() { listener, err = net.Listen("tcp", linkHere+":80") }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		defer listener.Close()
		host := linkThere // by way of the line
		if delay == 0 {
			host = linkHere
		}
		conn, err := l.dial(t.Context(), "tcp", host+":80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, got := inBatches(conn, 1<<30, conn).(*batches); got != want {
			t.Errorf("with %v each way: batches %v", delay, got)
		}
	}
}
