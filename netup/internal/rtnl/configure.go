// Package rtnl is the kernel's side of links: by rtnetlink, and by the files of
// /proc and /sys that have no place in it.
package rtnl

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/lease"
)

// ProtoDHCP marks our routes, so that a later run knows its own work.
const ProtoDHCP = netlink.RouteProtocol(unix.RTPROT_DHCP)

// Forever is the kernel's lifetime of an address without end.
const Forever = 0xffffffff

// Conn is the kernel's side of links: one rtnetlink socket for all requests,
// as opening and closing one for each costs more than most of them.
type Conn struct {
	*netlink.Handle
	Log *slog.Logger
}

// Link is one link's side of a Conn. Its logger names the link, its errors do
// not.
type Link struct {
	Conn
	Index int
}

// Link is the link of an index, of which log speaks.
func (k Conn) Link(index int, log *slog.Logger) Link {
	k.Log = log
	return Link{k, index}
}

// Open opens the socket; without one every request opens its own.
func Open(log *slog.Logger) Conn {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		log.Debug(err.Error())
		h = &netlink.Handle{}
	}
	return Conn{h, log}
}

// ByIndex names a link to netlink without looking it up.
func ByIndex(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// Configure puts a lease on its link: MTU, address, routes with the link's own
// metric, so that two links on one subnet don't hide each other. Doing it
// twice is the same as doing it once. Those of the link's IPv4 addresses that
// had lists go, but not those of keep.
func (k Link) Configure(l lease.Lease, metric int, keep []lease.Lease, had []netip.Prefix) error {
	link, log := ByIndex(k.Index), k.Log
	if l.MTU != 0 {
		log.Debug(fmt.Sprintf("set mtu %d", l.MTU))
		if err := k.LinkSetMTU(link, l.MTU); err != nil {
			log.Warn(fmt.Sprintf("mtu %d from the lease refused", l.MTU), "err", err)
		}
	}
	if err := k.addAddrs(l); err != nil {
		return err
	}
	if l.Addr.Addr().Is4() {
		if err := k.dropAddrs(l, keep, had); err != nil {
			return err
		}
		// The kernel takes with an address the ones that came after it in its
		// subnet (promote_secondaries in ip-sysctl.rst).
		if slices.ContainsFunc(had, func(p netip.Prefix) bool { return p != l.Addr }) {
			if err := k.addAddrs(l); err != nil {
				return err
			}
		}
	}
	for _, r := range Routes(l, metric) {
		log.Debug("add route " + RouteText(r))
		if err := k.RouteReplace(r); err != nil {
			// One bad route of several must not cost the boot.
			log.Warn("add route "+RouteText(r), "err", err)
		}
	}
	return nil
}

// addAddrs adds a lease's addresses.
func (k Link) addAddrs(l lease.Lease) error {
	for _, a := range l.Addrs() {
		addr := &netlink.Addr{IPNet: ipNet(a, false), Flags: unix.IFA_F_NOPREFIXROUTE}
		if a.Addr().Is6() {
			addr.Flags |= unix.IFA_F_NODAD // detection takes a second or two
		}
		if l.Time > 0 {
			left := max(int(time.Until(l.Acquired.Add(l.Time))/time.Second)+1, 1)
			addr.ValidLft, addr.PreferedLft = left, left
		}
		k.Log.Debug("add address " + a.String())
		if err := k.AddrReplace(ByIndex(k.Index), addr); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
		if a.Addr().Is6() {
			awaitGroup(k.Index, a.Addr())
		}
	}
	return nil
}

// Routes is what a lease means in the kernel's terms, in an order in
// which every gateway is reachable when its route is added.
func Routes(l lease.Lease, metric int) []*netlink.Route {
	proto := ProtoDHCP
	if l.Source == "static" {
		proto = unix.RTPROT_STATIC
	}
	route := func(dst netip.Prefix, gw netip.Addr) *netlink.Route {
		r := &netlink.Route{
			LinkIndex: l.Index, Dst: ipNet(dst, true), Priority: metric,
			Protocol: proto, Scope: netlink.SCOPE_LINK, MTU: l.RouteMTU,
		}
		if len(l.More) == 0 { // else the kernel knows best (RFC 6724)
			r.Src = l.Addr.Addr().AsSlice()
		}
		if gw.IsValid() {
			r.Gw, r.Scope = gw.AsSlice(), netlink.SCOPE_UNIVERSE
		}
		return r
	}
	var out []*netlink.Route
	reachable := []netip.Prefix{}
	onLink := func(p netip.Prefix) {
		out = append(out, route(p, netip.Addr{}))
		reachable = append(reachable, p)
	}
	if !l.Addr.IsSingleIP() {
		onLink(l.Addr.Masked())
	}
	for _, r := range l.Routes {
		if !r.Gateway.IsValid() && r.Dst != l.Addr.Masked() {
			onLink(r.Dst)
		}
	}
	for _, r := range l.Routes {
		// What is on the link needs no gateway, which would take the place of
		// the link in the way to all others.
		if !r.Gateway.IsValid() || slices.Contains(reachable, r.Dst) {
			continue
		}
		covered := r.Gateway.Is6() && r.Gateway.IsLinkLocalUnicast()
		for _, p := range reachable {
			covered = covered || p.Contains(r.Gateway)
		}
		if !covered {
			// A gateway outside the subnet, as clouds hand out with a /32.
			onLink(netip.PrefixFrom(r.Gateway, r.Gateway.BitLen()))
		}
		out = append(out, route(r.Dst, r.Gateway))
	}
	return out
}

// Withdraw removes what a link has of a lease and is not in the next one, nor
// in those of keep.
func (k Link) Withdraw(l, next lease.Lease, metric int, keep []lease.Lease) error {
	var errs []error
	stays := Routes(next, metric)
	for _, r := range Routes(l, metric) {
		if slices.ContainsFunc(stays, func(s *netlink.Route) bool { return RouteText(s) == RouteText(r) }) {
			continue
		}
		// A default route through another gateway has replaced it already.
		if slices.ContainsFunc(stays, func(s *netlink.Route) bool { return s.Dst.String() == r.Dst.String() }) && l.Addr.Addr().Is4() {
			continue
		}
		k.Log.Debug("remove route " + RouteText(r))
		if err := k.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %s: %w", RouteText(r), err))
		}
	}
	had := slices.DeleteFunc(l.Addrs(), func(p netip.Prefix) bool { return slices.Contains(next.Addrs(), p) })
	return errors.Join(append(errs, k.dropAddrs(next, keep, had))...)
}

// dropAddrs removes what the link had, but not l nor those of keep.
func (k Link) dropAddrs(l lease.Lease, keep []lease.Lease, had []netip.Prefix) error {
	var errs []error
	for _, p := range had {
		if p == l.Addr || slices.ContainsFunc(keep, func(l lease.Lease) bool { return l.Addr == p }) {
			continue
		}
		k.Log.Debug("remove address " + p.String())
		err := k.AddrDel(ByIndex(k.Index), &netlink.Addr{IPNet: ipNet(p, false)})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove address %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// Flush removes every address and route of a link. The kernel drops the
// routes of an IPv4 address with it, but not those given another source.
func (k Link) Flush() error {
	return errors.Join(k.FlushRoutes(netlink.FAMILY_ALL), k.FlushAddrs(netlink.FAMILY_ALL))
}

// FlushRoutes removes a link's routes of a family, but for the kernel's own.
func (k Link) FlushRoutes(family int) error {
	k.Log.Debug("remove routes")
	routes, err := Dump(func() ([]netlink.Route, error) { return k.RouteList(ByIndex(k.Index), family) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	var errs []error
	for i := range routes {
		// The kernel's own go with the address.
		if routes[i].Protocol == unix.RTPROT_KERNEL {
			continue
		}
		if err := k.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %s: %w", RouteText(&routes[i]), err))
		}
	}
	return errors.Join(errs...)
}

// FlushAddrs removes a link's addresses of a family.
func (k Link) FlushAddrs(family int) error {
	k.Log.Debug("remove addresses")
	list, err := Dump(func() ([]netlink.Addr, error) { return k.AddrList(ByIndex(k.Index), family) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	var errs []error
	for i, a := range list {
		if err := k.AddrDel(ByIndex(k.Index), &list[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove address %s: %w", a.IPNet, err))
		}
	}
	return errors.Join(errs...)
}

// SetDown ends a link's routes too: the kernel drops them, of both families.
func (k Link) SetDown() error {
	k.Log.Debug("set down")
	if err := k.LinkSetDown(ByIndex(k.Index)); err != nil && !Gone(err) {
		return fmt.Errorf("set down: %w", err)
	}
	return nil
}

// Gone reports whether an error says that a link is not there any more.
func Gone(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf) || errors.Is(err, unix.ENODEV)
}

func ipNet(p netip.Prefix, masked bool) *net.IPNet {
	if masked {
		p = p.Masked()
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// PrefixOf is a net.IPNet as a netip.Prefix; false for nil and nonsense.
func PrefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), ones), true
}

// RouteText is a route for people.
func RouteText(r *netlink.Route) string {
	dst := "default"
	if r.Dst != nil {
		dst = r.Dst.String()
	}
	if r.Gw != nil {
		return dst + " via " + r.Gw.String()
	}
	return dst + " on the link"
}

// ResetMTU gives a link the MTU it had before a lease changed it.
func (k Link) ResetMTU(mtu int) error {
	k.Log.Debug(fmt.Sprintf("set mtu %d", mtu))
	if err := k.LinkSetMTU(ByIndex(k.Index), mtu); err != nil && !Gone(err) {
		return fmt.Errorf("set mtu %d: %w", mtu, err)
	}
	return nil
}

// LinkLocal gives a link its own address, without the second or two that the
// kernel takes to look for duplicates.
func (k Link) LinkLocal(a netip.Prefix) error {
	err := k.AddrReplace(ByIndex(k.Index), &netlink.Addr{IPNet: ipNet(a, false), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK})
	if err != nil {
		return fmt.Errorf("add address %s: %w", a, err)
	}
	awaitGroup(k.Index, a.Addr())
	return nil
}
