package acd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"netstage/netup/internal/sock"
)

// arpProber asks a link by ARP who has an IPv4 address.
type arpProber struct {
	*os.File
	index int
	mac   net.HardwareAddr
	addr  netip.Addr
}

// ARP opens a socket for a link's ARP packets, without their Ethernet
// headers.
func ARP(index int, mac net.HardwareAddr, addr netip.Addr) (Prober, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open ARP socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder(unix.ETH_P_ARP), Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind ARP socket: %w", err)
	}
	return arpProber{os.NewFile(uintptr(fd), "arp"), index, mac, addr}, nil
}

// ask broadcasts a probe (RFC 5227 section 2.1.1).
func (p arpProber) ask() error {
	m := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, p.mac...)
	m = append(m, make([]byte, 10)...) // no address, and no hardware address known
	m = append(m, p.addr.AsSlice()...)
	to := &unix.SockaddrLinklayer{
		Protocol: sock.NetworkOrder(unix.ETH_P_ARP), Ifindex: p.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	return sock.Control(raw, func(fd int) error { return unix.Sendto(fd, m, 0, to) })
}

func (p arpProber) answer() (net.HardwareAddr, error) {
	buf := make([]byte, 64)
	n, err := p.Read(buf)
	return holder(buf[:max(n, 0)], p.addr), err
}

// holder is the hardware address of who says, by an ARP packet for Ethernet and
// IPv4 (RFC 826), that it has addr; nil when nobody does. A probe, whose sender
// has no address yet, says nothing: switches send some to count hosts.
func holder(b []byte, addr netip.Addr) net.HardwareAddr {
	if len(b) < 28 || [6]byte(b) != [6]byte{0, 1, 8, 0, 6, 4} || netip.AddrFrom4([4]byte(b[14:])) != addr {
		return nil
	}
	return slices.Clone(net.HardwareAddr(b[8:14]))
}
