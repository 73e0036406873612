package netup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyDHCP lets through unfragmented IPv4 UDP to port 68. The socket sees the
// link's whole traffic otherwise, an image download included.
var onlyDHCP = [...]bpf.RawInstruction{
	{Op: 0x30, K: 9},                    // ldb [9]         IP protocol
	{Op: 0x15, Jt: 0, Jf: 6, K: 17},     // jne #17, drop
	{Op: 0x28, K: 6},                    // ldh [6]         fragment offset
	{Op: 0x45, Jt: 4, Jf: 0, K: 0x1fff}, // jset #0x1fff, drop
	{Op: 0xb1, K: 0},                    // ldxb 4*([0]&0xf) header length
	{Op: 0x48, K: 2},                    // ldh [x+2]       destination port
	{Op: 0x15, Jt: 0, Jf: 1, K: nclient4.ClientPort},
	{Op: 0x6, K: 0xffff}, // accept
	{Op: 0x6, K: 0},      // drop
}

// rawConn is a packet socket on one link, for a host without an address. It
// outlives the link going down: the kernel reports that once as an error of a
// read, which would end nclient4's receive loop for good.
type rawConn struct{ *packet.Conn }

func (c rawConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.Conn.ReadFrom(b)
		if !errors.Is(err, unix.ENETDOWN) {
			return n, from, err
		}
	}
}

// listenRaw opens the socket that acquires a lease.
func listenRaw(index int, name string) (net.PacketConn, error) {
	ifc := &net.Interface{Index: index, Name: name}
	c, err := packet.Listen(ifc, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: onlyDHCP[:]})
	if err != nil {
		return nil, fmt.Errorf("%s: open packet socket: %w", name, err)
	}
	return nclient4.NewBroadcastUDPConn(rawConn{c}, &net.UDPAddr{Port: nclient4.ClientPort}), nil
}

// listenUDP opens the socket that renews a lease; it is bound to the link, so
// that a broadcast leaves there too.
func listenUDP(ctx context.Context, name string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		return onSocket(c, func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return err
			}
			return unix.BindToDevice(fd, name)
		})
	}}
	c, err := lc.ListenPacket(ctx, "udp4", fmt.Sprintf(":%d", nclient4.ClientPort))
	if err != nil {
		return nil, fmt.Errorf("%s: open DHCP socket: %w", name, err)
	}
	return c, nil
}

func onSocket(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
