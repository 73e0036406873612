package netup

import (
	"context"
	"net"

	"netstage/netup/internal/dial"
	"netstage/netup/lease"
)

// DialContext dials on any link. Names are looked up at the lease's DNS servers
// and no others, completed by its search list, in both address families at
// once; the first connection is used (RFC 8305). Errors of class dns name the
// servers asked.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.dialer.Context(ctx, network, addr)
}

// DialBy is the DialContext of a network that another process brought up, as a
// lease has it, whichever that is by then: on any link, because links are
// renamed while they are used.
func DialBy(l func() lease.Lease) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return dial.New("", l).Context
}

// A Path dials through a lease's link only, look-ups included, whatever routes
// other links have. It needs the right to bind to a device.
type Path struct{ Lease lease.Lease }

// DialContext is Network.DialContext through the lease's link and by its
// address family only, so that a connection proves the lease.
func (p Path) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return dial.Only(p.Lease).Context(ctx, network, addr)
}
