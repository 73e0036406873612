package netup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"netstage/netup/internal/dns"
	"netstage/netup/internal/sock"
	"netstage/netup/lease"
	"netstage/stage1/fault"
)

// Times of RFC 8305: how long an answer of the fourth family waits for one of
// the sixth, and how long a connection may take before another is begun beside.
const (
	resolutionDelay = 50 * time.Millisecond
	attemptDelay    = 250 * time.Millisecond
)

// dialer connects to names and addresses of the families it has.
type dialer struct {
	net   net.Dialer
	dns   *dns.Resolver
	six   bool
	four  bool
	lease func() lease.Lease
}

func newDialer(link string, l func() lease.Lease) *dialer {
	d := &dialer{net: net.Dialer{Control: sock.BindTo(link)}, six: true, four: true, lease: l}
	d.dns = &dns.Resolver{
		Servers: func() []netip.Addr { return l().DNS },
		Search:  func() []string { return l().Search },
		Dial:    d.net.DialContext,
	}
	return d
}

// DialContext dials on any link. Names are looked up at the lease's DNS servers
// and no others, completed by its search list, in both address families at
// once; the first connection is used (RFC 8305). Errors of class dns name the
// servers asked.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.dialer.dial(ctx, network, addr)
}

// DialBy is the DialContext of a network that another process brought up, as a
// lease has it: on any link, because links are renamed while they are used.
func DialBy(l lease.Lease) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return newDialer("", func() lease.Lease { return l }).dial
}

// A Path dials through a lease's link only, look-ups included, whatever routes
// other links have. It needs the right to bind to a device.
type Path struct{ Lease lease.Lease }

// DialContext is Network.DialContext through the lease's link and by its address
// family only, so that a connection proves the lease.
func (p Path) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	l := p.Lease
	host, _, _ := net.SplitHostPort(addr)
	if a, err := netip.ParseAddr(host); err == nil && lease.FamilyOf(a.Unmap()) != lease.FamilyOf(l.Addr.Addr()) {
		return nil, &familyError{lease: l.Addr, server: a}
	}
	d := newDialer(l.Link, func() lease.Lease { return l })
	d.six = lease.FamilyOf(l.Addr.Addr()) == lease.V6
	d.four = !d.six
	return d.dial(ctx, network, addr)
}

// familyError says that a server can't be reached from an address.
type familyError struct {
	lease  netip.Prefix
	server netip.Addr
}

func (e *familyError) Error() string {
	return fmt.Sprintf("the address %s of the other family can't be reached from %s", e.server, e.lease.Addr())
}

// Unwrap has its class.
func (e *familyError) Unwrap() error { return &fault.Error{Class: fault.NoRoute, Text: e.Error()} }

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if a, err := netip.ParseAddr(host); err == nil || host == "" {
		return d.net.DialContext(ctx, d.network(network, a), addr)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &attempts{d: d, network: network, port: port, found: make(chan found, 2), made: make(chan made)}
	c, err := r.run(ctx, host)
	if err != nil && r.dials == 0 {
		return nil, d.lookupError(host, err)
	}
	return c, err
}

// network is tcp4 for tcp, where the family is given.
func (d *dialer) network(network string, a netip.Addr) string {
	switch {
	case network != "tcp" && network != "udp":
	case d.six && !d.four:
		return network + "6"
	case d.four && !d.six:
		return network + "4"
	}
	return network
}

func (d *dialer) lookupError(host string, cause error) error {
	var tried []string
	for _, a := range d.lease().DNS {
		tried = append(tried, a.String())
	}
	msg := fmt.Sprintf("dns: %s: %v", host, cause)
	if len(tried) > 0 && !errors.Is(cause, context.Canceled) {
		msg += ", asked " + strings.Join(tried, ", ")
	}
	return &fault.Error{Class: fault.DNS, Text: msg, Tried: tried, Cause: cause}
}
