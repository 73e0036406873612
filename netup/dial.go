package netup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"netstage/netup/internal/sock"
	"netstage/netup/lease"
)

var errNoDNS = errors.New("the lease names no DNS server")

// Dialer dials on any link and looks names up with Resolver. DialContext knows
// more.
func (n *Network) Dialer() *net.Dialer {
	return &net.Dialer{Resolver: n.Resolver()}
}

// DialContext is Dialer's, with the lease's search list for names without a
// dot and with errors of class dns that name the servers asked.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return dial(ctx, n.Dialer(), n.Lease(), network, addr)
}

// A Path dials through a lease's link only, look-ups included, whatever routes
// other links have. It needs the right to bind to a device.
type Path struct{ Lease lease.Lease }

func (p Path) dialer() *net.Dialer {
	return &net.Dialer{
		Control:  sock.BindTo(p.Lease.Link),
		Resolver: resolver(func() []netip.Addr { return p.Lease.DNS }, p.Lease.Link),
	}
}

// DialContext is Network.DialContext through the lease's link and by its address
// family only, so that a connection proves the lease.
func (p Path) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	l := p.Lease
	host, _, _ := net.SplitHostPort(addr)
	if a, err := netip.ParseAddr(host); err == nil && lease.FamilyOf(a.Unmap()) != lease.FamilyOf(l.Addr.Addr()) {
		return nil, &familyError{lease: l.Addr, server: a}
	}
	if network == "tcp" || network == "udp" {
		network += map[lease.Family]string{lease.V4: "4", lease.V6: "6"}[lease.FamilyOf(l.Addr.Addr())]
	}
	return dial(ctx, p.dialer(), l, network, addr)
}

// familyError says that a server can't be reached from an address. Its class
// is no-route.
type familyError struct {
	lease  netip.Prefix
	server netip.Addr
}

func (e *familyError) Error() string {
	return fmt.Sprintf("the address %s of the other family can't be reached from %s", e.server, e.lease.Addr())
}

// Class names the failure for operators.
func (*familyError) Class() string { return "no-route" }

func dial(ctx context.Context, d *net.Dialer, l lease.Lease, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	hosts := []string{host}
	if !strings.ContainsAny(host, ".:") {
		hosts = nil
		for _, s := range l.Search {
			hosts = append(hosts, host+"."+s)
		}
		hosts = append(hosts, host)
	}
	for i, h := range hosts {
		var c net.Conn
		c, err = d.DialContext(ctx, network, net.JoinHostPort(h, port))
		var dns *net.DNSError
		switch {
		case err == nil:
			return c, nil
		case !errors.As(err, &dns):
			return nil, err
		case !dns.IsNotFound || i == len(hosts)-1:
			return nil, lookupError(host, l, dns)
		}
	}
	return nil, err
}

// lookupError puts the servers really asked in the place of the one that Go's
// resolver read from a resolv.conf which has no say here.
func lookupError(host string, l lease.Lease, cause *net.DNSError) error {
	var tried []string
	for _, a := range l.DNS {
		tried = append(tried, a.String())
	}
	msg := fmt.Sprintf("dns: %s: %s", host, cause.Err)
	if len(tried) > 0 {
		msg += ", asked " + strings.Join(tried, ", ")
	}
	return &Error{class: "dns", msg: msg, tried: tried, cause: cause}
}
