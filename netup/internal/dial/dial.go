// Package dial connects to names and addresses over a network as a lease has
// it, by the first of both families that answers (RFC 8305).
package dial

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

// Dialer connects to names and addresses of the families it has.
type Dialer struct {
	net   net.Dialer
	dns   *dns.Resolver
	six   bool
	four  bool
	lease func() lease.Lease
}

// New is a dialer over a link, or over any where link is "", with the servers
// for names of a lease as it then stands.
func New(link string, l func() lease.Lease) *Dialer {
	d := &Dialer{net: net.Dialer{Control: sock.BindTo(link)}, six: true, four: true, lease: l}
	d.dns = &dns.Resolver{
		Servers: func() []netip.Addr { return l().DNS },
		Search:  func() []string { return l().Search },
		Dial:    d.net.DialContext,
	}
	return d
}

// Only is a dialer through a lease's link and by its address family alone.
func Only(l lease.Lease) *Dialer {
	d := New(l.Link, func() lease.Lease { return l })
	d.six = lease.FamilyOf(l.Addr.Addr()) == lease.V6
	d.four = !d.six
	return d
}

// FamilyError says that a server can't be reached from an address.
type FamilyError struct {
	Lease  netip.Prefix
	Server netip.Addr
}

func (e *FamilyError) Error() string {
	return fmt.Sprintf("the address %s of the other family can't be reached from %s", e.Server, e.Lease.Addr())
}

// Unwrap has its class.
func (e *FamilyError) Unwrap() error { return &fault.Error{Class: fault.NoRoute, Text: e.Error()} }

// Context connects. Names are looked up at the lease's DNS servers and no
// others, completed by its search list, in both address families at once; the
// first connection is used. Errors of class dns name the servers asked.
func (d *Dialer) Context(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	a, err := netip.ParseAddr(host)
	if err == nil && (!d.six || !d.four) && (lease.FamilyOf(a.Unmap()) == lease.V6) != d.six {
		return nil, &FamilyError{Lease: d.lease().Addr, Server: a}
	}
	if err == nil || host == "" {
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
func (d *Dialer) network(network string, a netip.Addr) string {
	switch {
	case network != "tcp" && network != "udp":
	case d.six && !d.four:
		return network + "6"
	case d.four && !d.six:
		return network + "4"
	}
	return network
}

func (d *Dialer) lookupError(host string, cause error) error {
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
