package fetch

import (
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	ringBuffers = 4
	bufferSize  = 2 << 20 // a huge page, and a multiple of every dm-verity block size
)

// ring is a fixed set of buffers between the goroutine that reads a body and
// the one that verifies and writes it. They are mapped, not allocated, so that
// the kernel has them back as soon as the download ends.
type ring struct {
	memory []byte
	free   chan []byte
}

func newRing() (*ring, error) {
	memory, err := unix.Mmap(-1, 0, ringBuffers*bufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mmap %d MiB for buffers: %w", ringBuffers*bufferSize>>20, err)
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // a kernel without huge pages serves as well
	r := &ring{memory: memory, free: make(chan []byte, ringBuffers)}
	for i := range ringBuffers {
		r.free <- memory[i*bufferSize : (i+1)*bufferSize : (i+1)*bufferSize]
	}
	return r, nil
}

// Close returns the memory. No pump may be running.
func (r *ring) Close() error { return unix.Munmap(r.memory) }

// flow is what the reader tells the one who watches it.
type flow struct {
	received atomic.Int64 // bytes of this body so far
	starved  atomic.Bool  // the reader waits for the writer, not for the network
}

type chunk struct {
	data []byte // always full buffers, but for the last
	err  error  // io.EOF at the end of the body
}

// pump reads body in a goroutine and gives its bytes to consume, in order, in
// this one. It returns io.EOF when the body ended by itself and all of it was
// consumed, the error of the body, or that of consume. abort must make a Read
// of body that is under way return; it is called when consume fails. The reader
// has ended when pump returns.
func (r *ring) pump(body io.Reader, f *flow, abort func(), consume func([]byte) error) error {
	full := make(chan chunk, ringBuffers)
	stop := make(chan struct{})
	go func() {
		defer close(full)
		for {
			var buf []byte
			select {
			case buf = <-r.free:
			default:
				f.starved.Store(true)
				select {
				case buf = <-r.free:
				case <-stop:
					return
				}
				f.starved.Store(false)
			}
			n, err := fill(body, buf, f)
			full <- chunk{buf[:n], err}
			if err != nil {
				return
			}
		}
	}()
	var result error
	for c := range full {
		if result == nil && len(c.data) > 0 {
			if result = consume(c.data); result != nil {
				close(stop)
				abort()
			}
		}
		if result == nil && c.err != nil {
			result = c.err
		}
		r.free <- c.data[:bufferSize:bufferSize]
	}
	return result
}

// fill reads until buf is full or the body ends.
func fill(body io.Reader, buf []byte, f *flow) (int, error) {
	n, idle := 0, 0
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		f.received.Add(int64(m))
		if err != nil {
			return n, err
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}
