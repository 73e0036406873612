package tftp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// server serves one file over a real socket, a transfer at a time, and
// misbehaves as told.
type server struct {
	file   []byte
	ignore bool          // answers without options
	refuse bool          // refuses options (RFC 2347)
	grant  options       // at most; zero: all that is asked for
	answer *Error        // instead of the file
	silent int           // packets of the client that are not answered at first
	drop   func(int) int // times that the packet sent as the n-th is lost, doubled (-1) or held back (-2)
	after  int           // blocks, after which nothing more is sent; 0: never

	conn     net.PacketConn // where requests come in
	transfer net.PacketConn
	done     sync.WaitGroup

	mu      sync.Mutex
	packets [][]byte // of the client
}

func (s *server) start(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	var err error
	if s.conn, err = net.ListenPacket("udp", address+":0"); err != nil {
		t.Fatal(err)
	}
	if s.transfer, err = net.ListenPacket("udp", address+":0"); err != nil {
		t.Fatal(err)
	}
	s.done.Go(s.requests)
	t.Cleanup(func() {
		s.conn.Close()
		s.transfer.Close()
		s.done.Wait()
	})
	return s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// received waits until n packets of the client have come.
func (s *server) received(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(s.log()) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d packets, want %d: %q", len(s.log()), n, s.log())
		}
	}
}

func (s *server) log() (log []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.packets {
		log = append(log, string(p))
	}
	return log
}

func (s *server) note(p []byte) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = append(s.packets, append([]byte(nil), p...))
	return len(s.packets)
}

func (s *server) requests() {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if s.note(buf[:n]) > s.silent {
			s.serve(buf[:n], from)
		}
	}
}

// serve is one transfer, until the client has it all or is silent.
func (s *server) serve(request []byte, client net.Addr) {
	words := strings.Split(string(request[2:]), "\x00")
	o := plain
	asked := options{block: 512, window: 1, size: -1}
	for i := 2; i+1 < len(words); i += 2 {
		n, _ := strconv.Atoi(words[i+1])
		switch words[i] {
		case "blksize":
			asked.block = n
		case "windowsize":
			asked.window = n
		case "tsize":
			asked.size = int64(len(s.file))
		}
	}
	switch {
	case s.answer != nil:
		_, _ = s.transfer.WriteTo(failure(s.answer.Code, s.answer.Message), client)
		return
	case s.refuse && asked != plain:
		_, _ = s.transfer.WriteTo(failure(badOptions, "no options here"), client)
		return
	case !s.ignore && asked != plain:
		o = asked
		if s.grant != (options{}) {
			o = s.grant
		}
		p := []byte{0, opOptions}
		if o.size >= 0 {
			p = append(p, "tsize\x00"+strconv.FormatInt(o.size, 10)+"\x00"...)
		}
		p = append(p, "BLKSIZE\x00"+strconv.Itoa(o.block)+"\x00windowsize\x00"+strconv.Itoa(o.window)+"\x00"...)
		_, _ = s.transfer.WriteTo(p, client)
		if _, ok := s.acked(client, func() { _, _ = s.transfer.WriteTo(p, client) }); !ok {
			return
		}
	}
	s.blocks(o, client)
}

// acked waits for an ack, and calls again while there is none.
func (s *server) acked(client net.Addr, again func()) (block uint16, ok bool) {
	buf := make([]byte, 2048)
	for range 8 {
		_ = s.transfer.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, from, err := s.transfer.ReadFrom(buf)
		if err == nil && from.String() == client.String() {
			s.note(buf[:n])
			return binary.BigEndian.Uint16(buf[2:]), buf[1] == opAck
		}
		if err != nil && !strings.Contains(err.Error(), "timeout") {
			return 0, false
		}
		again()
	}
	return 0, false
}

func (s *server) blocks(o options, client net.Addr) {
	total := len(s.file)/o.block + 1
	sent := 0
	var held []byte
	send := func(n int) {
		p := binary.BigEndian.AppendUint16([]byte{0, opData}, uint16(n))
		p = append(p, s.file[min((n-1)*o.block, len(s.file)):min(n*o.block, len(s.file))]...)
		fate := 0
		if sent++; s.drop != nil {
			fate = s.drop(sent)
		}
		if s.after > 0 && n > s.after {
			return
		}
		switch fate {
		case 1:
			return
		case -2:
			held = p
			return
		case -1:
			_, _ = s.transfer.WriteTo(p, client)
		}
		_, _ = s.transfer.WriteTo(p, client)
		if held != nil {
			_, _ = s.transfer.WriteTo(held, client)
			held = nil
		}
	}
	for done := 0; done < total; {
		window := func() {
			for n := done + 1; n <= min(done+o.window, total); n++ {
				send(n)
			}
		}
		window()
		block, ok := s.acked(client, window)
		if !ok {
			return
		}
		if ahead := int(block - uint16(done)); ahead <= o.window { // an older one says nothing new
			done += ahead
		}
	}
}

func open(t *testing.T, at netip.AddrPort) (*Transfer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	conn, err := net.ListenPacket("udp", net.JoinHostPort(at.Addr().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	return Open(ctx, conn, at, "dir/image")
}
