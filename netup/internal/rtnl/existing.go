package rtnl

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/lease"
)

// Existing is what a link was seen to have before anything was done to it.
type Existing struct {
	Lease *lease.Lease // configured by someone else: used as it is
	Hint  netip.Addr   // our own address of an earlier run: asked for again
	Had   []netip.Prefix
}

// Empty reports whether a link had no address.
func (e Existing) Empty() bool { return len(e.Had) == 0 }

// Inspect looks at a link's IPv4 configuration, of which addrs are the
// addresses. An address with an end, or with routes that carry DHCP's mark, is
// the work of a DHCP client, most likely ours: asking for it again costs one
// round trip and brings back all options.
func (k Conn) Inspect(link netlink.Link, addrs []netlink.Addr, pnp string) (Existing, error) {
	var e Existing
	var own netip.Prefix // the first one
	for _, a := range addrs {
		p, ok := PrefixOf(a.IPNet)
		if !ok {
			continue
		}
		e.Had = append(e.Had, p)
		if p.Addr().IsLoopback() {
			continue
		}
		if !own.IsValid() {
			own = p
		}
		if !e.Hint.IsValid() && a.ValidLft > 0 && a.ValidLft < Forever {
			e.Hint = p.Addr()
		}
	}
	if e.Hint.IsValid() || !own.IsValid() {
		return e, nil
	}
	routes, err := Dump(func() ([]netlink.Route, error) { return k.RouteList(link, netlink.FAMILY_V4) })
	if err != nil {
		return Existing{}, fmt.Errorf("list routes: %w", err)
	}
	if slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Protocol == ProtoDHCP }) {
		e.Hint = own.Addr()
		return e, nil
	}
	e.Lease = &lease.Lease{
		Link: link.Attrs().Name, Index: link.Attrs().Index, MAC: link.Attrs().HardwareAddr,
		Addr: own, Routes: leaseRoutes(routes, own.Masked()), Source: "kernel",
	}
	readKernelConfig(pnp, e.Lease)
	return e, nil
}

// leaseRoutes are a link's IPv4 routes in a lease's terms, but for the one to
// its own subnet.
func leaseRoutes(routes []netlink.Route, subnet netip.Prefix) []lease.Route {
	var out []lease.Route
	for _, r := range routes {
		dst, ok := PrefixOf(r.Dst)
		if !ok {
			dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		gw, _ := netip.AddrFromSlice(r.Gw.To4())
		if dst != subnet || gw.IsValid() {
			out = append(out, lease.Route{Dst: dst, Gateway: gw})
		}
	}
	return out
}

// readKernelConfig adds the servers that the kernel's own ip= found, as far as
// it left their files.
func readKernelConfig(pnp string, l *lease.Lease) {
	if text, err := os.ReadFile(pnp); err == nil {
		readPNP(text, l)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(pnp), "ipconfig/ntp_servers"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(text)) {
		if a, err := netip.ParseAddr(field); err == nil && len(l.NTP) < lease.MaxListed {
			l.NTP = append(l.NTP, a)
		}
	}
}

// readPNP reads the kernel's /proc/net/pnp (net/ipv4/ipconfig.c): nameserver,
// domain and bootserver lines.
func readPNP(b []byte, l *lease.Lease) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) != 2 {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		ok := err == nil && a.Is4() && !a.IsUnspecified()
		switch f[0] {
		case "nameserver":
			if ok && len(l.DNS) < lease.MaxListed {
				l.DNS = append(l.DNS, a)
			}
		case "bootserver":
			if ok {
				l.Next = a
			}
		case "domain":
			if lease.ValidName(f[1]) {
				l.Search = []string{f[1]}
			}
		}
	}
}

// HasRouter6 reports whether the kernel has heard an IPv6 router on a link.
func (k Link) HasRouter6() bool {
	routes, err := Dump(func() ([]netlink.Route, error) { return k.RouteList(ByIndex(k.Index), netlink.FAMILY_V6) })
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Protocol == unix.RTPROT_RA })
}
