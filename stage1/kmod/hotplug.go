package kmod

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"netstage/stage1/uevent"
)

// Listen opens the socket that Hotplug reads from. Called before Coldplug, it
// makes sure that no device falls between the two. While a Hotplug runs it has
// nothing to do. Hotplug or Close closes the socket.
func (l *Loader) Listen() error {
	l.listenMu.Lock()
	defer l.listenMu.Unlock()
	if l.socket != nil || l.plugging > 0 {
		return nil
	}
	s, err := uevent.Open()
	l.socket = s
	return err
}

// closeLimit is how long Close waits for drivers that are still starting.
const closeLimit = 5 * time.Second

// Close gives up the socket of a Listen that no Hotplug took over, and waits
// for modules that are still starting after their Load was cancelled; not for
// ever, since nothing can end a driver that waits for its device: those are
// named in the error, and stay the kernel's.
func (l *Loader) Close() error {
	l.listenMu.Lock()
	if l.socket != nil {
		l.socket.Close()
		l.socket = nil
	}
	l.listenMu.Unlock()
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeLimit):
		return fmt.Errorf("still starting, and left to the kernel: %s", strings.Join(l.Starting(), " "))
	}
}

// Hotplug loads the drivers of devices that appear, till the context ends,
// which is no error. Without a Listen before it looks once at all of sysfs, so
// that it misses nothing either way.
func (l *Loader) Hotplug(ctx context.Context) error {
	l.listenMu.Lock()
	s, sysfs := l.socket, l.sysfs
	l.socket = nil
	l.plugging++
	l.listenMu.Unlock()
	defer func() {
		l.listenMu.Lock()
		l.plugging--
		l.listenMu.Unlock()
	}()
	if s == nil {
		var err error
		if s, err = uevent.Open(); err != nil {
			return err
		}
		l.rescan(ctx, sysfs)
	}
	defer s.Close()

	q := l.newQueue(ctx, sysfs)
	defer q.end()
	return s.Receive(ctx, l.log, q.add)
}

// queue stands between receiving and loading, which takes longer: it keeps the
// socket empty, and what is waiting is loaded in one go.
type queue struct {
	ctx      context.Context
	incoming chan string // modaliases; rescanMark for all of sysfs
	ended    chan struct{}
}

const rescanMark = ""

func (l *Loader) newQueue(ctx context.Context, sysfs string) *queue {
	q := &queue{ctx: ctx, incoming: make(chan string, 1024), ended: make(chan struct{})}
	go func() {
		defer close(q.ended)
		for first := range q.incoming {
			batch := q.waiting(first)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if slices.Contains(batch, rescanMark) {
					l.rescan(ctx, sysfs)
				} else {
					l.arrived(ctx, batch)
				}
			}()
			select {
			case <-done:
			case <-time.After(slowStart): // the next devices need not wait for a slow driver
			}
		}
	}()
	return q
}

// waiting adds to the first all that has come since.
func (q *queue) waiting(first string) []string {
	batch := []string{first}
	for {
		select {
		case next, ok := <-q.incoming:
			if !ok {
				return batch
			}
			batch = append(batch, next)
		default:
			return batch
		}
	}
}

// add queues an event. A full queue makes the kernel's buffer wait.
func (q *queue) add(e uevent.Event) {
	m := e.Env["MODALIAS"]
	switch e.Action {
	case "add", "change", "bind": // a bus may learn the modalias late
		if m == "" {
			return
		}
	case uevent.Lost:
		m = rescanMark
	default:
		return
	}
	select {
	case q.incoming <- m:
	case <-q.ctx.Done():
	}
}

// end waits till everything queued is dealt with.
func (q *queue) end() {
	close(q.incoming)
	<-q.ended
}

func (l *Loader) arrived(ctx context.Context, modaliases []string) {
	_, loaded, _ := l.drive(ctx, modaliases)
	if len(loaded) > 0 {
		l.log.Info("new device, loaded " + strings.Join(loaded, " "))
	}
}

func (l *Loader) rescan(ctx context.Context, sysfs string) {
	r, err := l.Coldplug(ctx, sysfs)
	if err != nil && ctx.Err() == nil {
		l.log.Warn(err.Error())
	}
	if len(r.Loaded) > 0 {
		l.log.Info("new device, loaded " + strings.Join(r.Loaded, " "))
	}
}
