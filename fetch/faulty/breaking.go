package faulty

import (
	"net"
	"syscall"
)

// Breaking is a connection that is reset when Left bytes have been read.
type Breaking struct {
	net.Conn
	Left int
}

func (b *Breaking) Read(p []byte) (int, error) {
	if b.Left <= 0 {
		return 0, syscall.ECONNRESET
	}
	n, err := b.Conn.Read(p[:min(len(p), b.Left)])
	b.Left -= n
	return n, err
}
