package step

import (
	"context"
	"fmt"
	"time"
)

// Background is work that goes on beside the steps until it is stopped.
type Background struct {
	cancel context.CancelFunc
	done   chan error
}

// InBackground starts work. It is independent of the step that starts it.
func InBackground(work func(context.Context) error) *Background {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Background{cancel: cancel, done: make(chan error, 1)}
	go func() { b.done <- work(ctx) }()
	return b
}

// stopLimit is how long work may take to end once it was told to. A driver or a
// disk may hold it for ever.
const stopLimit = 10 * time.Second

var errLeft = fmt.Errorf("it did not end in %v, and is left behind", stopLimit)

// Stop ends the work, waits for it and returns its error.
func (b *Background) Stop() error { return b.StopAfter(0) }

// StopAfter gives the work some time to end by itself.
func (b *Background) StopAfter(grace time.Duration) error {
	defer b.cancel()
	select {
	case err := <-b.done:
		return err
	case <-time.After(grace):
	}
	b.cancel()
	select {
	case err := <-b.done:
		return err
	case <-time.After(stopLimit):
		return errLeft
	}
}
