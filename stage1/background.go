package stage1

import (
	"context"
	"time"
)

// background is work that goes on beside the steps until it is stopped.
type background struct {
	cancel context.CancelFunc
	done   chan error
}

// inBackground starts work. It is independent of the step that starts it.
func inBackground(work func(context.Context) error) *background {
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{cancel: cancel, done: make(chan error, 1)}
	go func() { b.done <- work(ctx) }()
	return b
}

// stop ends the work, waits for it and returns its error.
func (b *background) stop() error {
	b.cancel()
	return <-b.done
}

// stopAfter gives the work some time to end by itself.
func (b *background) stopAfter(grace time.Duration) error {
	defer time.AfterFunc(grace, b.cancel).Stop()
	err := <-b.done
	b.cancel()
	return err
}
