package waitfd

import (
	"context"
	"errors"
	"os"
	"testing"
)

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

func TestReadable(t *testing.T) {
	r, w := pipe(t)
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := Readable(t.Context(), int(r.Fd())); err != nil {
		t.Errorf("with a byte waiting: %v", err)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	r, _ := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Readable(ctx, int(r.Fd())) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestHangup(t *testing.T) {
	r, w := pipe(t)
	_ = w.Close()
	if err := Readable(t.Context(), int(r.Fd())); !errors.Is(err, ErrHangup) {
		t.Errorf("got %v, want a hang-up", err)
	}
}
