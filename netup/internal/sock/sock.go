// Package sock has what sockets of one link need.
package sock

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Control runs f on a socket's file descriptor.
func Control(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// BindTo binds a socket to a link, for a net.Dialer or net.ListenConfig; nil
// where link is "".
func BindTo(link string) func(network, address string, c syscall.RawConn) error {
	if link == "" {
		return nil
	}
	return func(network, address string, c syscall.RawConn) error {
		return Control(c, func(fd int) error { return unix.BindToDevice(fd, link) })
	}
}

// Shared is BindTo for a port that several sockets listen on.
func Shared(link string) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		return Control(c, func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return err
			}
			return unix.BindToDevice(fd, link)
		})
	}
}

// ICMPv6 opens a socket that takes one type of ICMPv6 message of one link
// only, and that sends as neighbours and hosts do.
func ICMPv6(index, typ int) (*net.IPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return Control(rc, func(fd int) error {
			// ICMP6_FILTER: a set bit blocks the type.
			filter := unix.ICMPv6Filter{}
			for i := range filter.Data {
				filter.Data[i] = 0xffffffff
			}
			filter.Data[typ/32] &^= 1 << (typ % 32)
			return errors.Join(
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index),
				unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
			)
		})
	}}
	conn, err := lc.ListenPacket(context.Background(), "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	return conn.(*net.IPConn), nil
}

// HopLimit is that of a received IPv6 packet, by its control messages; -1 when
// they do not say.
func HopLimit(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for _, m := range msgs {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return -1
}

// NetworkOrder is v as the kernel takes it where it wants network byte order.
func NetworkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
