package fetch

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// batch is how many bytes are worth waking up for. On a slow processor most of the cost of a download is being woken
// for every few segments: with batches of 128 KiB, a guest without hardware support took 1.1 to 1.5 s for 104 MiB
// instead of 1.65 s.
const batch = 128 << 10

// batches is a body of known length whose connection wakes its reader for batches only (SO_RCVLOWAT, socket(7)), and
// for whatever comes towards the end, when there may be less than a batch left, or once end has been called: on a
// connection that is too slow to bring a batch, what it did bring must not be lost with it.
type batches struct {
	io.Reader
	socket syscall.RawConn
	left   int64 // bytes of the body
	ended  sync.Once
}

// nearby is the longest round trip, in microseconds, over which batches are asked for. The kernel takes the size of a
// batch for all that a reader wants in flight until it knows better, so from far away it would come at a third of the
// rate.
const nearby = 2000

// inBatches wraps a body of length bytes, -1 where that is not known, that arrives on conn.
func inBatches(body io.Reader, length int64, conn net.Conn) io.Reader {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok || length < 4*batch {
		return body
	}
	raw, err := socket.SyscallConn()
	if err != nil || roundTrip(raw) > nearby || wakeFor(raw, batch) != nil {
		return body // it works without
	}
	return &batches{Reader: body, socket: raw, left: length}
}

func (b *batches) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	before := b.left
	b.left -= int64(n)
	// Twice, because a few kilobytes are in the HTTP client's own buffer.
	if before >= 2*batch && b.left < 2*batch {
		b.end()
	}
	return n, err
}

// end has every byte wake the reader from now on, those that are there already included.
func (b *batches) end() {
	b.ended.Do(func() { _ = wakeFor(b.socket, 1) }) // it may be closed by now
}

// roundTrip is the shortest one that the kernel saw on a connection, in microseconds; 0 where it does not tell.
func roundTrip(socket syscall.RawConn) (microseconds uint32) {
	_ = socket.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			microseconds = info.Min_rtt
		}
	})
	return microseconds
}

func wakeFor(socket syscall.RawConn, bytes int) error {
	var err error
	if e := socket.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes) }); e != nil {
		return e
	}
	return err
}

// withConn has the connection of a request put into conn.
func withConn(ctx context.Context, conn *net.Conn) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { *conn = got.Conn }})
}
