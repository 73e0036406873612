package acd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"netstage/netup/internal/sock"
)

// ndProber asks a link by neighbour discovery who has an IPv6 address (RFC 4861
// section 7.2). It asks as a neighbour would, from the link's own address, and
// is answered so.
type ndProber struct {
	*net.IPConn
	mac  net.HardwareAddr
	addr netip.Addr
	from []byte // the control message that chooses the source
}

// ND opens a socket that takes a link's neighbour advertisements.
func ND(index int, mac net.HardwareAddr, addr netip.Addr) (Prober, error) {
	own, err := linkLocal(index)
	if err != nil {
		return nil, err
	}
	conn, err := sock.ICMPv6(index, 136)
	if err != nil {
		return nil, fmt.Errorf("open ICMPv6 socket: %w", err)
	}
	// By itself the kernel might choose addr, once it is in use here, and who
	// has it does not answer to itself.
	from := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: own.As16(), Ifindex: uint32(index)})
	return ndProber{conn, mac, addr, from}, nil
}

// linkLocal is a link's own address of fe80::/10.
func linkLocal(index int) (netip.Addr, error) {
	nic, err := net.InterfaceByIndex(index)
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := nic.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the addresses of %s: %w", nic.Name, err)
	}
	for _, a := range addrs {
		if a, err := netip.ParsePrefix(a.String()); err == nil && a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() {
			return a.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no link-local address", nic.Name)
}

func (p ndProber) ask() error {
	m := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, p.addr.AsSlice()...)
	m = append(append(m, 1, 1), p.mac...)
	group := netip.MustParseAddr("ff02::1:ff00:0").As16() // the solicited-node one
	a := p.addr.As16()
	copy(group[13:], a[13:])
	_, _, err := p.WriteMsgIP(m, p.from, &net.IPAddr{IP: group[:]})
	return err
}

func (p ndProber) answer() (net.HardwareAddr, error) {
	buf, oob := make([]byte, 1500), make([]byte, 128)
	n, noob, _, _, err := p.ReadMsgIP(buf, oob)
	if err != nil || sock.HopLimit(oob[:noob]) != 255 {
		return nil, err
	}
	return neighbour(buf[:n], p.addr), nil
}

// neighbour is the hardware address of who has addr, by a neighbour
// advertisement; nil when it is of another one, or does not say.
func neighbour(b []byte, addr netip.Addr) net.HardwareAddr {
	if len(b) < 24 || b[0] != 136 || b[1] != 0 || netip.AddrFrom16([16]byte(b[8:])) != addr {
		return nil
	}
	for o := b[24:]; len(o) >= 8 && o[1] != 0 && len(o) >= int(o[1])*8; o = o[int(o[1])*8:] {
		if o[0] == 2 { // target link-layer address
			return slices.Clone(net.HardwareAddr(o[2:8]))
		}
	}
	return nil
}
