package console

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// room is how much a Writer keeps of what its device does not take yet.
const room = 64 << 10

// A Writer writes to a console that may stop taking bytes at any time: by a
// Ctrl-S, for a terminal server that does not read, for want of a line that
// flow control waits for. It never blocks: what the device does not take is
// kept, up to a limit, and written as soon as it can be; what is beyond the
// limit is dropped, which is told in its place. It may be used by several
// goroutines.
type Writer struct {
	write func([]byte) (int, error)

	mu      sync.Mutex
	kept    []byte // to be written first
	lost    int    // bytes, after those that are kept
	pumping bool
	moved   time.Time // when the device last took something
	idle    *sync.Cond
}

// NewWriter returns a Writer to a descriptor, which it makes non-blocking.
func NewWriter(fd int) *Writer {
	_ = unix.SetNonblock(fd, true) // what can't be, as a file, does not block
	return newWriter(func(p []byte) (int, error) { return unix.Write(fd, p) })
}

func newWriter(write func([]byte) (int, error)) *Writer {
	w := &Writer{write: write}
	w.idle = sync.NewCond(&w.mu)
	return w
}

// Write always takes all of p, unless the device is gone.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := len(p)
	if !w.pumping {
		n, err := w.some(p)
		if err != nil {
			return n, err
		}
		if p = p[n:]; len(p) == 0 {
			return all, nil
		}
		w.pumping, w.moved = true, time.Now()
		go w.pump()
	}
	if w.lost == 0 { // else it would come before what is told of
		n := min(len(p), room-len(w.kept))
		w.kept, p = append(w.kept, p[:n]...), p[n:]
	}
	w.lost += len(p)
	return all, nil
}

// some writes what the device takes now.
func (w *Writer) some(p []byte) (done int, err error) {
	for done < len(p) {
		n, err := w.write(p[done:])
		switch {
		case n > 0:
			done += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return done, nil
		case err == nil:
			return done, nil
		default:
			return done, fmt.Errorf("console: write: %w", err)
		}
	}
	return done, nil
}

// pumpEvery is how often a device that was full is tried again. Nothing else
// would tell: a terminal that was stopped may claim to be writable.
const pumpEvery = 20 * time.Millisecond

// pump writes what is kept. It ends with it, or with the device.
func (w *Writer) pump() {
	for {
		time.Sleep(pumpEvery)
		w.mu.Lock()
		n, err := w.some(w.kept)
		if n > 0 {
			w.kept, w.moved = w.kept[:copy(w.kept, w.kept[n:])], time.Now()
		}
		if len(w.kept) == 0 && w.lost > 0 {
			w.kept = fmt.Appendf(w.kept, "\n-- %d bytes lost: this console took nothing --\n", w.lost)
			w.lost = 0
		}
		if err != nil {
			w.kept, w.lost = nil, 0
		}
		if len(w.kept) == 0 {
			w.pumping = false
			w.idle.Broadcast()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// stop forgets what is kept, and waits for the end of the pump.
func (w *Writer) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.kept, w.lost = nil, 0; w.pumping; {
		w.idle.Wait()
	}
}

// How long Flush waits: for a device that takes nothing, and for a slow one.
const (
	flushStuck = 300 * time.Millisecond
	flushSlow  = 5 * time.Second
)

// Flush waits until what was written is out, as far as the device takes it.
// The rest stays to be written.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for began := time.Now(); w.pumping && time.Since(w.moved) < flushStuck && time.Since(began) < flushSlow; {
		wake := time.AfterFunc(pumpEvery, w.idle.Broadcast)
		w.idle.Wait()
		wake.Stop()
	}
}

// Stuck tells that the device has taken nothing for a while.
func (w *Writer) Stuck() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pumping && time.Since(w.moved) >= flushStuck
}
