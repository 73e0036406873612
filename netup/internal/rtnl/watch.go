package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/retry"
)

// Batch is news from the kernel: links that are new or changed and indices
// that are gone. A full batch lists every link there is.
type Batch struct {
	Links []netlink.Link
	Gone  []int
	Full  bool
}

// Watch sends the state of all links and then every change to out, until
// ctx ends. When a notification was lost it lists all links again.
func (k Conn) Watch(ctx context.Context, out chan<- Batch) {
	for again := false; ctx.Err() == nil; again = true {
		if again && retry.Pause(ctx, 50*time.Millisecond) != nil {
			return
		}
		if err := k.watchOnce(ctx, out); err != nil && ctx.Err() == nil {
			k.Log.Warn("link notifications interrupted, listing links again", "err", err)
		}
	}
}

func (k Conn) watchOnce(ctx context.Context, out chan<- Batch) error {
	updates, done, reason, err := subscribe(ctx, k.Log)
	if err != nil {
		return err
	}
	defer func() {
		close(done)
		// The receiver may be blocked on its channel; it ends by closing it.
		for range updates {
		}
	}()
	links, err := Dump(k.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	if !send(ctx, out, Batch{Links: links, Full: true}) {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-updates:
			if !ok {
				return *reason
			}
			b := Batch{Links: []netlink.Link{u.Link}}
			if u.Header.Type == unix.RTM_DELLINK {
				b = Batch{Gone: []int{int(u.Index)}}
			}
			if !send(ctx, out, b) {
				return nil
			}
		}
	}
}

// subscribe opens the notification socket. reason is written before updates
// is closed and may be read after.
func subscribe(ctx context.Context, log *slog.Logger) (updates chan netlink.LinkUpdate, done chan struct{}, reason *error, err error) {
	for _, force := range []bool{true, false} {
		updates, done = make(chan netlink.LinkUpdate, 64), make(chan struct{})
		reason = new(error)
		*reason = errors.New("socket closed")
		err = netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
			ErrorCallback: func(err error) {
				*reason = err
				if ctx.Err() == nil {
					log.Debug("link notifications", "err", err)
				}
			},
			ReceiveBufferSize:      1 << 20,
			ReceiveBufferForceSize: force, // needs CAP_NET_ADMIN in the first user namespace
		})
		if err == nil {
			return updates, done, reason, nil
		}
		close(done)
	}
	return nil, nil, nil, fmt.Errorf("subscribe to link notifications: %w", err)
}

// Dump repeats a listing that the kernel says was disturbed by a change.
func Dump[T any](list func() ([]T, error)) ([]T, error) {
	for tries := 0; ; tries++ {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || tries == 20 {
			return out, err
		}
	}
}

func send(ctx context.Context, out chan<- Batch, b Batch) bool {
	select {
	case out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}
