package step

import (
	"context"
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

// Stop ends the work, waits for it and returns its error.
func (b *Background) Stop() error {
	b.cancel()
	return <-b.done
}

// StopAfter gives the work some time to end by itself.
func (b *Background) StopAfter(grace time.Duration) error {
	defer time.AfterFunc(grace, b.cancel).Stop()
	err := <-b.done
	b.cancel()
	return err
}
