// Package waitfd waits for a file descriptor with a context, without a
// goroutine that would outlive the wait.
package waitfd

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrHangup says that the other side is gone: the descriptor reports nothing
// but a hang-up or an error.
var ErrHangup = errors.New("hung up")

// Readable returns nil when a read of fd would not block, ctx.Err() when ctx
// ends first, and ErrHangup when nothing will ever come.
func Readable(ctx context.Context, fd int) error { return wait(ctx, fd, unix.POLLIN) }

func wait(ctx context.Context, fd int, event int16) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		one := [8]byte{1}
		if _, err := unix.Write(wake, one[:]); err != nil {
			return // the counter can't be full: it was empty
		}
	})
	defer func() {
		if !stop() {
			<-woken // the number must not be reused under the waker
		}
		_ = unix.Close(wake)
	}()

	fds := []unix.PollFd{{Fd: int32(fd), Events: event}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case fds[0].Revents&event != 0:
			return nil
		case fds[1].Revents != 0:
			return ctx.Err()
		case fds[0].Revents != 0:
			return ErrHangup
		}
	}
}
