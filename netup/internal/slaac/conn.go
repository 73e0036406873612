package slaac

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"netstage/netup/internal/sock"
)

// routerConn is how a link hears routers and asks for them (RFC 4861). It reads
// router advertisements itself, so that address, route and DNS servers come
// together and at once; the kernel's own part is switched off for the link.
type routerConn struct {
	*net.IPConn
	mac net.HardwareAddr
	log *slog.Logger // the link's
}

// listenRouters opens a socket that takes router advertisements of one link
// only.
func listenRouters(index int, mac net.HardwareAddr, log *slog.Logger) (*routerConn, error) {
	conn, err := sock.ICMPv6(index, 134)
	if err != nil {
		return nil, fmt.Errorf("open ICMPv6 socket: %w", err)
	}
	return &routerConn{conn, mac, log}, nil
}

// solicit asks all routers, with our link-layer address (RFC 4861 section 4.1).
// The socket knows its link; by the name of a zone Go may mean another, as it
// remembers for a minute which index a name had.
func (c *routerConn) solicit() {
	m := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1}, c.mac...)
	if _, err := c.WriteTo(m, &net.IPAddr{IP: net.IPv6linklocalallrouters}); err != nil {
		c.log.Debug("router solicitation", "err", err)
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
			return fmt.Errorf("receive router advertisement: %w", err)
		}
		router, _ := netip.AddrFromSlice(from.IP)
		a, err := parseAdvert(buf[:n], router)
		if err != nil || sock.HopLimit(oob[:noob]) != 255 { // RFC 4861 section 6.1.2: from this link only
			c.log.Debug("a router advertisement from "+router.String()+" is ignored", "err", err)
			continue
		}
		select {
		case out <- a.receivedAt(time.Now()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
