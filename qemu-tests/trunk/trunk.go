// Package trunk is the switch at the other end of QEMU's network cards: a trunk
// port that tags frames, or several ports that are one link by LACP. What
// passes it comes from and goes to a file that holds a frame in each read and
// write, as a tap does.
package trunk

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// Trunk is a switch with some ports.
type Trunk struct {
	// Tag is the VLAN that the ports carry; other frames are dropped. 0 means
	// frames without a tag.
	Tag uint16
	// LACP makes the ports one link with whoever speaks LACP (IEEE 802.1AX).
	LACP bool

	inside io.ReadWriter
	ports  []*port

	mu     sync.Mutex
	active int // the port that spoke last
}

// port is where one network card of QEMU's connects.
type port struct {
	listener net.Listener
	mu       sync.Mutex // of writing
	conn     net.Conn
}

// Start runs a switch with n ports in front of inside, for as long as the test.
func (s *Trunk) Start(t testing.TB, inside io.ReadWriteCloser, n int) {
	t.Helper()
	s.inside = inside
	var work sync.WaitGroup
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.ports = append(s.ports, &port{listener: l})
	}
	t.Cleanup(func() {
		inside.Close()
		for _, p := range s.ports {
			p.listener.Close()
			p.close()
		}
		work.Wait()
	})
	for i := range s.ports {
		work.Go(func() { s.serve(i) })
	}
	work.Go(s.outward)
}

// Backend is the beginning of QEMU's -nic for a port.
func (s *Trunk) Backend(port int) string {
	return "socket,connect=" + s.ports[port].listener.Addr().String()
}

// serve takes frames from a card to the inside.
func (s *Trunk) serve(index int) {
	p := s.ports[index]
	conn, err := p.listener.Accept()
	if err != nil {
		return
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	frame := make([]byte, 1<<16)
	for {
		var size uint32 // QEMU's framing
		if binary.Read(conn, binary.BigEndian, &size) != nil || int(size) > len(frame) {
			return
		}
		if _, err := io.ReadFull(conn, frame[:size]); err != nil {
			return
		}
		s.inward(index, frame[:size])
	}
}

const (
	typeVLAN = 0x8100
	typeSlow = 0x8809
)

func (s *Trunk) inward(index int, frame []byte) {
	if len(frame) < 18 {
		return
	}
	kind := binary.BigEndian.Uint16(frame[12:])
	switch {
	case kind == typeSlow:
		if answer := lacpAnswer(frame, index); s.LACP && answer != nil {
			s.ports[index].send(answer)
		}
		return
	case (kind == typeVLAN) != (s.Tag != 0), s.Tag != 0 && binary.BigEndian.Uint16(frame[14:])&0xfff != s.Tag:
		return
	case s.Tag != 0:
		frame = append(frame[:12:12], frame[16:]...)
	}
	s.mu.Lock()
	s.active = index
	s.mu.Unlock()
	s.inside.Write(frame)
}

// outward takes frames to the card that spoke last.
func (s *Trunk) outward() {
	frame := make([]byte, 1<<16)
	for {
		n, err := s.inside.Read(frame)
		if err != nil {
			return
		}
		if n < 14 {
			continue
		}
		out := frame[:n]
		if s.Tag != 0 {
			out = binary.BigEndian.AppendUint16(append(make([]byte, 0, n+4), frame[:12]...), typeVLAN)
			out = append(binary.BigEndian.AppendUint16(out, s.Tag), frame[12:n]...)
		}
		s.mu.Lock()
		active := s.active
		s.mu.Unlock()
		s.ports[active].send(out)
	}
}

func (p *port) send(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	}
}

func (p *port) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}
