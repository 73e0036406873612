package netup

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
)

// protoDHCP marks our routes, so that a later run knows its own work.
const protoDHCP = netlink.RouteProtocol(unix.RTPROT_DHCP)

// forever is the kernel's lifetime of an address without end.
const forever = 0xffffffff

// configure puts a lease on its link: MTU, address, routes with the link's own
// metric, so that two links on one subnet don't hide each other. Doing it
// twice is the same as doing it once. Other IPv4 addresses on the link go, but
// not those of keep.
func configure(log *slog.Logger, l Lease, metric int, keep []Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return fmt.Errorf("%s: find link: %w", l.Link, err)
	}
	if l.MTU != 0 && l.MTU != link.Attrs().MTU {
		log.Debug(fmt.Sprintf("%s: set mtu %d", l.Link, l.MTU))
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			log.Warn(fmt.Sprintf("%s: mtu %d from the lease refused: %v", l.Link, l.MTU, err))
		}
	}
	addr := &netlink.Addr{IPNet: ipNet(l.Addr, false), Flags: unix.IFA_F_NOPREFIXROUTE}
	if l.Addr.Addr().Is6() {
		addr.Flags |= unix.IFA_F_NODAD // detection takes a second or two
	}
	if l.Time > 0 {
		left := max(int(time.Until(l.Acquired.Add(l.Time))/time.Second)+1, 1)
		addr.ValidLft, addr.PreferedLft = left, left
	}
	log.Debug(fmt.Sprintf("%s: add address %s", l.Link, l.Addr))
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("%s: add address %s: %w", l.Link, l.Addr, err)
	}
	if l.Addr.Addr().Is4() {
		if err := dropOtherAddrs(log, link, append(keep[:len(keep):len(keep)], l)); err != nil {
			return err
		}
	}
	for _, r := range kernelRoutes(l, metric) {
		log.Debug(fmt.Sprintf("%s: add route %s", l.Link, routeText(r)))
		if err := netlink.RouteReplace(r); err != nil {
			// One bad route of several must not cost the boot.
			log.Warn(fmt.Sprintf("%s: add route %s: %v", l.Link, routeText(r), err))
		}
	}
	return nil
}

// kernelRoutes is what a lease means in the kernel's terms, in an order in
// which every gateway is reachable when its route is added.
func kernelRoutes(l Lease, metric int) []*netlink.Route {
	proto := protoDHCP
	if l.Source == "static" {
		proto = unix.RTPROT_STATIC
	}
	route := func(dst netip.Prefix, gw netip.Addr) *netlink.Route {
		r := &netlink.Route{
			LinkIndex: l.Index, Dst: ipNet(dst, true), Priority: metric,
			Src: l.Addr.Addr().AsSlice(), Protocol: proto, Scope: netlink.SCOPE_LINK,
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
		if !r.Gateway.IsValid() {
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

func dropOtherAddrs(log *slog.Logger, link netlink.Link, keep []Lease) error {
	have, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("%s: list addresses: %w", link.Attrs().Name, err)
	}
	var errs []error
	for i, a := range have {
		p, ok := prefixOf(a.IPNet)
		if ok && slices.ContainsFunc(keep, func(l Lease) bool { return l.Addr == p }) {
			continue
		}
		log.Debug(fmt.Sprintf("%s: remove address %s", link.Attrs().Name, a.IPNet))
		if err := netlink.AddrDel(link, &have[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("%s: remove address %s: %w", link.Attrs().Name, a.IPNet, err))
		}
	}
	return errors.Join(errs...)
}

// flush removes every address and route of a link. The kernel drops the
// routes of an IPv4 address with it, but not those given another source.
func flush(log *slog.Logger, index int) error {
	return flushFamilies(log, index, netlink.FAMILY_V4, netlink.FAMILY_V6)
}

func flushFamilies(log *slog.Logger, index int, families ...int) error {
	link, err := netlink.LinkByIndex(index)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %d: find: %w", index, err)
	}
	name := link.Attrs().Name
	log.Debug(name + ": flush addresses and routes")
	errs := []error{}
	for _, family := range families {
		routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(link, family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: list routes: %w", name, err))
		}
		for i := range routes {
			// The kernel's own go with the address.
			if routes[i].Protocol == unix.RTPROT_KERNEL {
				continue
			}
			if err := netlink.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("%s: remove route %s: %w", name, routeText(&routes[i]), err))
			}
		}
		list, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: list addresses: %w", name, err))
		}
		for i, a := range list {
			if err := netlink.AddrDel(link, &list[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				errs = append(errs, fmt.Errorf("%s: remove address %s: %w", name, a.IPNet, err))
			}
		}
	}
	return errors.Join(errs...)
}

func setDown(log *slog.Logger, index int) error {
	link, err := netlink.LinkByIndex(index)
	if gone(err) {
		return nil
	}
	if err == nil {
		log.Debug(link.Attrs().Name + ": set down")
		err = netlink.LinkSetDown(link)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("link %d: set down: %w", index, err)
	}
	return nil
}

func gone(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf) || errors.Is(err, unix.ENODEV)
}

func ipNet(p netip.Prefix, masked bool) *net.IPNet {
	if masked {
		p = p.Masked()
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
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

func routeText(r *netlink.Route) string {
	dst := "default"
	if r.Dst != nil {
		dst = r.Dst.String()
	}
	if r.Gw != nil {
		return dst + " via " + r.Gw.String()
	}
	return dst + " on the link"
}

// resetMTU gives a link the MTU it had before a lease changed it.
func resetMTU(log *slog.Logger, index, mtu int) error {
	link, err := netlink.LinkByIndex(index)
	if gone(err) || err == nil && (mtu == 0 || link.Attrs().MTU == mtu) {
		return nil
	}
	if err == nil {
		log.Debug(fmt.Sprintf("%s: set mtu %d", link.Attrs().Name, mtu))
		err = netlink.LinkSetMTU(link, mtu)
	}
	if err != nil {
		return fmt.Errorf("link %d: set mtu %d: %w", index, mtu, err)
	}
	return nil
}
