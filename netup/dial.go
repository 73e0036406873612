package netup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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

// Dialer dials through the lease's link only, look-ups included, whatever
// routes other links have. It needs the right to bind to a device.
func (l Lease) Dialer() *net.Dialer {
	servers := l.DNS
	return &net.Dialer{
		Control:  bindTo(l.Link),
		Resolver: resolver(func() []netip.Addr { return servers }, l.Link),
	}
}

// DialContext is Network.DialContext through the lease's link and by its address
// family only, so that a connection proves the lease.
func (l Lease) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	if a, err := netip.ParseAddr(host); err == nil && familyOf(a.Unmap()) != familyOf(l.Addr.Addr()) {
		return nil, &familyError{lease: l.Addr, server: a}
	}
	if network == "tcp" || network == "udp" {
		network += map[family]string{ipv4: "4", ipv6: "6"}[familyOf(l.Addr.Addr())]
	}
	return dial(ctx, l.Dialer(), l, network, addr)
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

func bindTo(link string) func(network, address string, c syscall.RawConn) error {
	if link == "" {
		return nil
	}
	return func(network, address string, c syscall.RawConn) error {
		return onSocket(c, func(fd int) error { return unix.BindToDevice(fd, link) })
	}
}

func dial(ctx context.Context, d *net.Dialer, l Lease, network, addr string) (net.Conn, error) {
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
func lookupError(host string, l Lease, cause *net.DNSError) error {
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
