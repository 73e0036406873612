// Package nbd is a network block device without a network: the kernel asks for
// blocks over a socket pair, and a process of this machine answers, at once or
// when it has them (Documentation/admin-guide/blockdev/nbd.rst).
package nbd

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// mostWaiting is more than the kernel ever asks for at once: 128, the depth of
// its queue.
const mostWaiting = 256

// Server answers the kernel, one request at a time. It has one goroutine,
// allocates nothing once it runs and knows nothing of where blocks come from,
// so that little can go wrong in it. Reads of what is not there yet wait,
// everything else is answered at once.
type Server struct {
	sock int
	size int64
	data Data
	head [requestSize]byte
	buf  []byte
	wait [mostWaiting]Wait
	n    int
	last Request
	read bool // last is a read that makes sense
}

// Data is what the server serves from. Requests may cover blocks in part.
type Data interface {
	io.ReaderAt
	// Has tells whether all of n bytes from an offset on are there.
	Has(offset, n int64) bool
}

// Wait is a read that waits for its blocks.
type Wait struct {
	Request
	Since time.Time
}

// NewServer returns a server of size bytes on its end of a stream socket pair,
// a blocking descriptor that stays the caller's.
func NewServer(sock int, size int64, data Data) *Server {
	// The longest piece of a reply; longer ones are written piece by piece.
	return &Server{sock: sock, size: size, data: data, buf: make([]byte, replySize+256<<10)}
}

// ErrEnd says that the kernel has disconnected.
var ErrEnd = errors.New("nbd: disconnected")

// Next reads one request, and waits for it. Missing is a read that waits now;
// else it is nil. Errors are ErrEnd, or leave the connection useless.
func (s *Server) Next(now time.Time) (missing *Wait, err error) {
	s.read = false
	if err := s.receive(s.head[:]); err != nil {
		return nil, err
	}
	r, err := ParseRequest(s.head[:])
	if err != nil {
		return nil, err
	}
	s.last, s.read = r, r.Command == Read && r.within(s.size)
	switch {
	case r.Command == Disconnect:
		return nil, ErrEnd
	case r.Command == Write:
		// The device is read-only; the bytes of one who writes all the same
		// are not the next request.
		if err := s.discard(r.Length); err != nil {
			return nil, err
		}
		return nil, s.refuse(r, errPermission)
	case !s.read:
		return nil, s.refuse(r, errInvalid)
	case s.data.Has(r.Offset, r.Length):
		return nil, s.answer(r)
	case s.n == len(s.wait):
		return nil, s.refuse(r, errMemory)
	}
	s.wait[s.n] = Wait{r, now}
	s.n++
	return &s.wait[s.n-1], nil
}

// Last is what Next read, where that was a read within the device.
func (s *Server) Last() (Request, bool) { return s.last, s.read }

// Waiting are the reads that wait, valid until the next call of any method.
func (s *Server) Waiting() []Wait { return s.wait[:s.n] }

// Settle answers the reads whose blocks have come, and calls settled for each.
// With a limit, those that have waited longer are I/O errors, and not answered.
func (s *Server) Settle(now time.Time, limit time.Duration, settled func(w *Wait, answered bool)) error {
	for i := 0; i < s.n; {
		w := &s.wait[i]
		answered := true
		var err error
		switch {
		case s.data.Has(w.Offset, w.Length):
			err = s.answer(w.Request)
		case limit > 0 && now.Sub(w.Since) > limit:
			answered, err = false, s.refuse(w.Request, errIO)
		default:
			i++
			continue
		}
		if err != nil {
			return err
		}
		settled(w, answered)
		s.n--
		s.wait[i] = s.wait[s.n]
	}
	return nil
}

// answer sends what is there.
func (s *Server) answer(r Request) error {
	piece := s.buf[:min(int64(len(s.buf)), replySize+r.Length)]
	// Its first bytes decide whether there is an answer.
	if _, err := s.data.ReadAt(piece[replySize:], r.Offset); err != nil {
		return s.refuse(r, errIO)
	}
	putReply(piece, 0, r.Cookie)
	if err := s.send(piece); err != nil {
		return err
	}
	for at := int64(len(piece)) - replySize; at < r.Length; {
		piece := s.buf[:min(int64(len(s.buf)), r.Length-at)]
		if _, err := s.data.ReadAt(piece, r.Offset+at); err != nil {
			return fmt.Errorf("nbd: read byte %d, in the middle of an answer: %w", r.Offset+at, err)
		}
		if err := s.send(piece); err != nil {
			return err
		}
		at += int64(len(piece))
	}
	return nil
}

func (s *Server) refuse(r Request, errno uint32) error {
	putReply(s.buf, errno, r.Cookie)
	return s.send(s.buf[:replySize])
}

func (s *Server) send(p []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(s.sock, p, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("nbd: answer the kernel: %w", err)
		}
		p = p[n:]
	}
	return nil
}

func (s *Server) receive(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(s.sock, p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("nbd: hear the kernel: %w", err)
		case n == 0:
			return ErrEnd
		}
		p = p[n:]
	}
	return nil
}

func (s *Server) discard(n int64) error {
	for n > 0 {
		p := s.buf[:min(n, int64(len(s.buf)))]
		if err := s.receive(p); err != nil {
			return err
		}
		n -= int64(len(p))
	}
	return nil
}
