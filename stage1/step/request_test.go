package step

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"netstage/qemu-tests/namespaced"
)

func TestMain(m *testing.M) { namespaced.Main(m) }

// Who asks to go back is heard by who is in charge, once, and only about steps
// that there are; a request that nobody takes is taken back.
func TestGoBack(t *testing.T) {
	namespaced.Need(t)
	requests, listening := Requests([]string{"image", "root"})
	if err := GoBack(t.Context(), "nonsense"); err != nil {
		t.Error(err)
	}
	if err := GoBack(t.Context(), "image"); err != nil {
		t.Error(err)
	}
	if got := <-requests; got != "image" {
		t.Errorf("%q", got)
	}
	if err := listening.Stop(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := GoBack(ctx, "image"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(goBackFile); !os.IsNotExist(err) {
		t.Errorf("the request is there still: %v", err)
	}
}

// Work that is stopped may end by itself for a while, and is told to end then.
func TestStopAfter(t *testing.T) {
	quick := InBackground(func(context.Context) error { return errors.New("done") })
	if err := quick.StopAfter(time.Minute); err == nil || err.Error() != "done" {
		t.Error(err)
	}
	slow := InBackground(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err := slow.StopAfter(time.Millisecond); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
