package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// What is asked for. A block fits a packet of 1500 bytes with IPv6 and a tunnel
// or two around it; 32 of them are what a switch's buffer takes.
var wanted = options{block: 1408, window: 32, size: 0}

// Patience: a packet is repeated after a second, then after longer, and after
// six times without an answer the server is given up.
const (
	firstWait = time.Second
	mostWait  = 4 * time.Second
	mostTries = 6
)

// ErrTimeout says that a server stopped answering.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string { return "no answer to 6 TFTP packets" }
func (timeoutError) Timeout() bool { return true } // a net.Error

func (timeoutError) Temporary() bool { return true }

// Transfer is a file on its way: an io.ReadCloser. It is used by one goroutine
// at a time.
type Transfer struct {
	// Size is the file's length in bytes; -1 where the server doesn't tell.
	Size int64

	conn   net.PacketConn
	stop   func() bool // ends watching the context
	ctx    context.Context
	server netip.AddrPort // with the port of this transfer, once it answered
	known  bool
	agreed options

	last   []byte // packet sent, to be repeated
	got    uint64 // blocks received in order
	window int    // of those, since the last ack
	gap    bool   // something was missing, and the server knows
	ended  bool   // the last block was received
	err    error

	packet []byte // room for one
	rest   []byte // of a block that was not read yet
}

// Open asks server for a file. The connection is the Transfer's from then on,
// and closed with it or on failure; it must be able to hear any port of the
// server. Errors are *Error where the server refused.
func Open(ctx context.Context, conn net.PacketConn, server netip.AddrPort, file string) (*Transfer, error) {
	t := &Transfer{Size: -1, conn: conn, ctx: ctx, server: server, packet: make([]byte, 4+wanted.block+1)}
	// A read under way returns when the context ends.
	t.stop = context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	err := t.begin(file, wanted)
	var refused *Error
	if errors.As(err, &refused) && refused.Code == badOptions {
		// RFC 2347: a server that knows no options may say so.
		t.server, t.known = server, false
		err = t.begin(file, plain)
	}
	if err != nil {
		t.stop()
		return nil, errors.Join(err, conn.Close())
	}
	return t, nil
}

// begin sends the request and takes the first answer: the options, or the first
// block of a server without any.
func (t *Transfer) begin(file string, asked options) error {
	t.agreed = plain
	if err := t.send(request(file, asked)); err != nil {
		return err
	}
	p, err := t.receive()
	if err != nil {
		return err
	}
	if p.op != opOptions {
		return t.handle(p)
	}
	if t.agreed, err = parseOptions(p.data, asked); err != nil {
		_ = t.write(failure(badOptions, err.Error()))
		return fmt.Errorf("TFTP server accepts other options than were asked for: %w", err)
	}
	t.Size = t.agreed.size
	return t.send(ack(0))
}

// Read reads the file. The error is io.EOF at its end, and the same again once
// there was one.
func (t *Transfer) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		switch {
		case t.err != nil:
			return 0, t.err
		case t.ended:
			t.err = io.EOF
		default:
			t.err = t.next()
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *Transfer) next() error {
	p, err := t.receive()
	if err != nil {
		return err
	}
	return t.handle(p)
}

// handle looks at what came: the next block is kept, anything else tells what
// the server does not know.
func (t *Transfer) handle(p packet) error {
	if p.op == opOptions { // repeated: our answer was lost
		return t.write(t.last)
	}
	switch behind := uint16(t.got) - p.block; {
	case p.block == uint16(t.got+1):
	case behind == 0 && t.window == 0:
		return t.write(t.last) // the end of a window that the server sends again
	case behind < 1<<15 || t.gap:
		return nil // an old one, or one of many after a gap
	default:
		t.gap, t.window = true, 0
		return t.send(ack(t.got))
	}
	if len(p.data) > t.agreed.block {
		return fmt.Errorf("TFTP server sends a block of %d bytes, agreed were %d", len(p.data), t.agreed.block)
	}
	t.got++
	t.window++
	t.gap, t.rest, t.ended = false, p.data, len(p.data) < t.agreed.block
	if t.window == t.agreed.window || t.ended {
		t.window = 0
		return t.send(ack(t.got))
	}
	t.last = ack(t.got) // in case nothing more comes
	return nil
}

// receive waits for a packet of this transfer, repeating what was sent last.
func (t *Transfer) receive() (packet, error) {
	wait := firstWait
	until := time.Now().Add(wait) // whatever else may come meanwhile
	for tries := 1; ; {
		if err := t.conn.SetReadDeadline(until); err != nil {
			return packet{}, err
		}
		if t.ctx.Err() != nil { // perhaps before the deadline was set
			return packet{}, context.Cause(t.ctx)
		}
		n, from, err := t.conn.ReadFrom(t.packet)
		switch {
		case t.ctx.Err() != nil:
			return packet{}, context.Cause(t.ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			if tries++; tries > mostTries {
				return packet{}, ErrTimeout
			}
			wait, t.window = min(2*wait, mostWait), 0
			until = time.Now().Add(wait)
			if err := t.write(t.last); err != nil {
				return packet{}, err
			}
			continue
		case err != nil:
			return packet{}, err
		}
		p, err := parse(t.packet[:n])
		if err != nil || !t.ours(from) {
			continue
		}
		if p.err != nil {
			return packet{}, p.err
		}
		return p, nil
	}
}

// ours tells whether a packet is of this transfer. The port is that of the
// first answer (RFC 1350, 4); another one of the same server is told so.
func (t *Transfer) ours(from net.Addr) bool {
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return false
	}
	address := udp.AddrPort()
	address = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	switch {
	case address.Addr() != t.server.Addr():
		return false
	case !t.known:
		t.server, t.known = address, true
	case address != t.server:
		_, _ = t.conn.WriteTo(failure(unknownTransfer, "unknown transfer ID"), from)
		return false
	}
	return true
}

// send is write of something new, which is repeated until the server answers.
func (t *Transfer) send(p []byte) error {
	t.last = p
	return t.write(p)
}

func (t *Transfer) write(p []byte) error {
	_, err := t.conn.WriteTo(p, net.UDPAddrFromAddrPort(t.server))
	return err
}

// Close ends the transfer; a server that is not done is told to stop.
func (t *Transfer) Close() error {
	t.stop()
	if !t.ended {
		_ = t.write(failure(0, "not wanted any more"))
	}
	return t.conn.Close()
}
