package dhcp4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/retry"
	"netstage/netup/internal/sock"
)

// onlyDHCP lets through unfragmented IPv4 UDP to port 68. The socket sees all
// links' whole traffic otherwise, an image download included.
var onlyDHCP = [...]unix.SockFilter{
	{Code: 0x30, K: 9},                    // ldb [9]         IP protocol
	{Code: 0x15, Jt: 0, Jf: 6, K: 17},     // jne #17, drop
	{Code: 0x28, K: 6},                    // ldh [6]         fragment offset
	{Code: 0x45, Jt: 4, Jf: 0, K: 0x1fff}, // jset #0x1fff, drop
	{Code: 0xb1, K: 0},                    // ldxb 4*([0]&0xf) header length
	{Code: 0x48, K: 2},                    // ldh [x+2]       destination port
	{Code: 0x15, Jt: 0, Jf: 1, K: nclient4.ClientPort},
	{Code: 0x6, K: 0xffff}, // accept
	{Code: 0x6, K: 0},      // drop
}

// Port is the packet socket on which hosts without an address talk to DHCP
// servers: one for all links, because closing one makes the kernel wait for
// its other processors. It is open while a link uses it.
type Port struct {
	talk   atomic.Int64 // when the first link began to, or a message came last, in nanoseconds since 1970
	mu     sync.Mutex
	socket *os.File
	raw    syscall.RawConn
	links  map[*linkPort]bool
	wg     sync.WaitGroup
}

// linkPort is one link's share of the port. It outlives the link going down.
type linkPort struct {
	port   *Port
	index  int
	in     chan []byte
	closed chan struct{}
	once   sync.Once
}

// Open gives a link its share. What is written is broadcast; passedOver is told
// what of a server's message was.
func (p *Port) Open(index int, passedOver func(netip.Addr, []string)) (net.PacketConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket == nil {
		if err := p.listen(); err != nil {
			return nil, fmt.Errorf("open packet socket: %w", err)
		}
	}
	c := &linkPort{port: p, index: index, in: make(chan []byte, 16), closed: make(chan struct{})}
	p.links[c] = true
	return normalising{nclient4.NewBroadcastUDPConn(c, &net.UDPAddr{Port: nclient4.ClientPort}), passedOver}, nil
}

// listen opens the socket.
func (p *Port) listen() error {
	// Without a protocol nothing arrives before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "dhcp")
	raw, err := f.SyscallConn()
	if err == nil {
		filter := unix.SockFprog{Len: uint16(len(onlyDHCP)), Filter: &onlyDHCP[0]}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder(unix.ETH_P_IP)})
	}
	if err != nil {
		f.Close()
		return err
	}
	p.socket, p.raw = f, raw
	if p.links == nil {
		p.links = map[*linkPort]bool{}
	}
	p.wg.Go(func() { p.deliver(raw) })
	return nil
}

// deliver hands what arrives to its link until the socket is closed.
func (p *Port) deliver(raw syscall.RawConn) {
	buf := make([]byte, 2048)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN && err != unix.EINTR
		}) != nil {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			continue // such as ENETDOWN, told once
		}
		p.talk.Store(time.Now().UnixNano())
		p.mu.Lock()
		for c := range p.links {
			if c.index != ll.Ifindex {
				continue
			}
			select {
			case c.in <- append([]byte(nil), buf[:n]...):
			default: // a flood; the message is sent again
			}
		}
		p.mu.Unlock()
	}
}

// Begins says that a link is about to talk, which counts for the first one.
func (p *Port) Begins() { p.talk.CompareAndSwap(0, time.Now().UnixNano()) }

// Lull waits for the end of a talk: until no message has come for two
// milliseconds, and at most for ten.
func (p *Port) Lull(ctx context.Context) {
	for end := time.Now().Add(10 * time.Millisecond); ; {
		left := min(2*time.Millisecond-time.Since(time.Unix(0, p.talk.Load())), time.Until(end))
		if left <= 0 || retry.Pause(ctx, left) != nil {
			return
		}
	}
}

// Wait returns when everything is closed; no link may be open.
func (p *Port) Wait() { p.wg.Wait() }

func (c *linkPort) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case m := <-c.in:
		return copy(b, m), nil, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *linkPort) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.port.mu.Lock()
	raw := c.port.raw
	c.port.mu.Unlock()
	to := &unix.SockaddrLinklayer{
		Protocol: sock.NetworkOrder(unix.ETH_P_IP), Ifindex: c.index,
		Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	var err error
	if e := raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, to)
		return err != unix.EAGAIN && err != unix.EINTR
	}); e != nil {
		err = e
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close gives the share back; the last one closes the socket, behind.
func (c *linkPort) Close() error {
	c.once.Do(func() {
		close(c.closed)
		p := c.port
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, c)
		if len(p.links) == 0 {
			socket := p.socket
			p.socket = nil
			p.wg.Go(func() { socket.Close() })
		}
	})
	return nil
}

func (c *linkPort) LocalAddr() net.Addr              { return &net.UDPAddr{Port: nclient4.ClientPort} }
func (c *linkPort) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *linkPort) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *linkPort) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// listenUDP opens the socket that renews a lease; it is bound to the link, so
// that a broadcast leaves there too.
func listenUDP(ctx context.Context, name string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: sock.Shared(name)}
	c, err := lc.ListenPacket(ctx, "udp4", fmt.Sprintf(":%d", nclient4.ClientPort))
	if err != nil {
		return nil, fmt.Errorf("open DHCP socket: %w", err)
	}
	return normalising{c, nil}, nil
}
