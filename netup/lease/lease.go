// Package lease is what a link has got: an address, and what was said with it.
package lease

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Route is one route a lease asks for.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr // not valid: Dst is on the link
}

// Lease is what one link got: from a DHCP server, or found already configured.
type Lease struct {
	Link  string // interface name
	Index int    // interface index
	MAC   net.HardwareAddr

	Addr   netip.Prefix   // the address with its on-link prefix
	More   []netip.Prefix // further addresses of the same source, of further IPv6 prefixes
	Routes []Route        // in the order given; none when the lease leads nowhere
	// Gateways are further default gateways, in order, to try where the one of
	// Routes leads nowhere.
	Gateways []netip.Addr
	DNS      []netip.Addr
	Search   []string // domain search list (option 119, then 15)
	NTP      []netip.Addr
	MTU      int // 0: not given
	RouteMTU int // of the IPv4 routes alone: smaller than what IPv6 takes; 0: not given
	Host     string
	Server   netip.Addr // who gave the lease
	Next     netip.Addr // next-server (siaddr); not valid when not given
	NextName string     // TFTP server name (option 66), a name or an address
	BootFile string     // boot file (option 67, else the file field; by DHCPv6 a URL, RFC 5970)
	Cache    string     // of images: a URL, in option 224, which is the site's own
	// BootParams are the boot file's parameters, which DHCPv6 alone has.
	BootParams []string

	// Time, T1 and T2 are the lease's length and when to renew and rebind
	// (RFC 2131); Time is 0 for a lease without end.
	Time, T1, T2 time.Duration
	// Acquired is when the request that led to the lease was sent.
	Acquired time.Time
	// Took is the time from carrier, or from the start of DHCP after a loss,
	// to the lease.
	Took time.Duration
	// Source says where it comes from: "dhcp", "dhcp6", "ra" for a router
	// advertisement, "static" for an address the operator gave, or "kernel" for
	// an interface that was found configured.
	Source string
}

// OffLink reports whether the lease has a route through a gateway, or has all
// the world on the link, where a router answers for it (proxy ARP).
func (l Lease) OffLink() bool {
	for _, r := range l.Routes {
		if r.Gateway.IsValid() || r.Dst.Bits() == 0 {
			return true
		}
	}
	return false
}

// Gateway returns the gateway of the default route, or an invalid address.
func (l Lease) Gateway() netip.Addr {
	for _, r := range l.Routes {
		if r.Dst.Bits() == 0 && r.Gateway.IsValid() {
			return r.Gateway
		}
	}
	return netip.Addr{}
}

// By is the lease with its default route by another of its gateways; the one
// until now comes last of the others.
func (l Lease) By(gw netip.Addr) Lease {
	i := slices.Index(l.Gateways, gw)
	if i < 0 {
		return l
	}
	l.Routes, l.Gateways = slices.Clone(l.Routes), slices.Delete(slices.Clone(l.Gateways), i, i+1)
	for j, r := range l.Routes {
		if r.Dst.Bits() == 0 && r.Gateway.IsValid() {
			l.Routes[j].Gateway = gw
			l.Gateways = append(l.Gateways, r.Gateway)
			break
		}
	}
	return l
}

// Demoted reports whether a lease must give way to better ones: it is
// link-local, as a BMC's USB NIC hands out, or has no route off the link. What
// the operator wrote is good.
func (l Lease) Demoted() bool {
	return l.Source != "static" && (l.Addr.Addr().IsLinkLocalUnicast() || !l.OffLink())
}

// Lack is why a lease is demoted.
func (l Lease) Lack() string {
	if l.Addr.Addr().IsLinkLocalUnicast() {
		return "an address of this link only"
	}
	return "no router"
}

// String is the lease in one line, for the console.
func (l Lease) String() string {
	var b strings.Builder
	b.WriteString(l.Addr.String())
	for _, p := range l.More {
		b.WriteString(" " + p.String())
	}
	if g := l.Gateway(); g.IsValid() {
		b.WriteString(" via " + g.String())
	} else if !l.OffLink() {
		b.WriteString(" (no route off the link)")
	}
	if len(l.DNS) > 0 {
		b.WriteString(", dns")
		for _, a := range l.DNS {
			b.WriteString(" " + a.String())
		}
	}
	if l.Server.IsValid() {
		b.WriteString(", from " + l.Server.String())
	}
	return b.String()
}

// Addrs are all addresses of the lease.
func (l Lease) Addrs() []netip.Prefix {
	return append([]netip.Prefix{l.Addr}, l.More...)
}

// Says reports whether a lease says the same as another, of whatever time.
func (l Lease) Says(o Lease) bool {
	return l.String() == o.String() && l.MTU == o.MTU && l.RouteMTU == o.RouteMTU && l.BootFile == o.BootFile && l.Cache == o.Cache &&
		slices.Equal(l.Routes, o.Routes) && slices.Equal(l.Search, o.Search) && slices.Equal(l.NTP, o.NTP)
}

// Family is one of addresses: a link has a lease of each, and they race.
type Family int

// The families.
const (
	V4 Family = iota
	V6
)

// Other is the one that f is not.
func (f Family) Other() Family { return 1 - f }

// AF is the kernel's number of the family.
func (f Family) AF() int {
	if f == V6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// FamilyOf is the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is6() {
		return V6
	}
	return V4
}

// JoinedBy adds to a lease what the one of the link's other address family
// knows besides addresses and routes; the lease's own comes first.
func (l Lease) JoinedBy(o *Lease) Lease {
	if o == nil {
		return l
	}
	l.DNS, l.NTP, l.Search = slices.Clone(l.DNS), slices.Clone(l.NTP), slices.Clone(l.Search)
	for _, a := range o.DNS {
		l.DNS = AppendAddr(l.DNS, a)
	}
	for _, a := range o.NTP {
		l.NTP = AppendAddr(l.NTP, a)
	}
	for _, s := range o.Search {
		l.Search = AppendName(l.Search, s)
	}
	if l.Host == "" {
		l.Host = o.Host
	}
	if l.Cache == "" {
		l.Cache = o.Cache
	}
	if l.BootFile == "" && !l.Next.IsValid() && l.NextName == "" {
		l.BootFile, l.BootParams, l.Next, l.NextName = o.BootFile, o.BootParams, o.Next, o.NextName
	}
	return l
}

// DefaultBy is the default route of a gateway's family.
func DefaultBy(gw netip.Addr) Route {
	all := netip.IPv4Unspecified()
	if gw.Is6() {
		all = netip.IPv6Unspecified()
	}
	return Route{Dst: netip.PrefixFrom(all, 0), Gateway: gw}
}
