package netup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routerConn is how a link hears routers and asks for them (RFC 4861). It reads
// router advertisements itself, so that address, route and DNS servers come
// together and at once; the kernel's own part is switched off for the link.
type routerConn struct {
	*net.IPConn
	name string
	mac  net.HardwareAddr
	log  *slog.Logger
}

// listenRouters opens a socket that takes router advertisements of one link only.
func listenRouters(index int, name string, mac net.HardwareAddr, log *slog.Logger) (*routerConn, error) {
	conn, err := listenICMPv6(index, 134)
	if err != nil {
		return nil, fmt.Errorf("%s: open ICMPv6 socket: %w", name, err)
	}
	return &routerConn{conn, name, mac, log}, nil
}

// solicit asks all routers, with our link-layer address (RFC 4861 section 4.1).
// The socket knows its link; by the name of a zone Go may mean another, as it
// remembers for a minute which index a name had.
func (c *routerConn) solicit() {
	m := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1}, c.mac...)
	if _, err := c.WriteTo(m, &net.IPAddr{IP: net.IPv6linklocalallrouters}); err != nil {
		c.log.Debug(fmt.Sprintf("%s: router solicitation: %v", c.name, err))
	}
}

// deliver sends what arrives to out until ctx ends and the socket is closed, or
// the socket fails for good.
func (c *routerConn) deliver(ctx context.Context, out chan<- advert) error {
	buf, oob := make([]byte, 1500), make([]byte, 128)
	for {
		n, noob, _, from, err := c.ReadMsgIP(buf, oob)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once
		}
		if err != nil {
			return fmt.Errorf("%s: receive router advertisement: %w", c.name, err)
		}
		router, _ := netip.AddrFromSlice(from.IP)
		a, err := parseAdvert(buf[:n], router)
		if err != nil || hopLimit(oob[:noob]) != 255 { // RFC 4861 section 6.1.2: from this link only
			c.log.Debug(fmt.Sprintf("%s: a router advertisement from %s is ignored: %v", c.name, router, err))
			continue
		}
		select {
		case out <- a.heard(time.Now()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func hopLimit(oob []byte) int {
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

// linkLocal gives a link its own address, without the second or two that the
// kernel takes to look for duplicates.
func (k kernel) linkLocal(index int, name string, mac net.HardwareAddr) error {
	a := netip.PrefixFrom(eui64(netip.MustParseAddr("fe80::"), mac), 64)
	err := k.AddrReplace(byIndex(index), &netlink.Addr{IPNet: ipNet(a, false), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK})
	if err != nil {
		return fmt.Errorf("%s: add address %s: %w", name, a, err)
	}
	return nil
}
