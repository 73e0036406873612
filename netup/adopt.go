package netup

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// found is what a link was seen to have before anything was done to it.
type found struct {
	lease *Lease     // configured by someone else: used as it is
	hint  netip.Addr // our own address of an earlier run: asked for again
	had   []netip.Prefix
}

func (f found) empty() bool { return len(f.had) == 0 }

// inspect looks at a link's IPv4 configuration, of which addrs are the
// addresses. An address with an end, or with routes that carry DHCP's mark, is
// the work of a DHCP client, most likely ours: asking for it again costs one
// round trip and brings back all options.
func (k kernel) inspect(link netlink.Link, addrs []netlink.Addr, pnp string) (found, error) {
	name := link.Attrs().Name
	var had []netip.Prefix
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			had = append(had, p)
		}
	}
	var l *Lease
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if !ok || p.Addr().IsLoopback() {
			continue
		}
		if a.ValidLft > 0 && a.ValidLft < forever {
			return found{hint: p.Addr(), had: had}, nil
		}
		if l == nil {
			l = &Lease{Link: name, Index: link.Attrs().Index, MAC: link.Attrs().HardwareAddr, Addr: p, Source: "kernel"}
		}
	}
	if l == nil {
		return found{had: had}, nil
	}
	routes, err := dump(func() ([]netlink.Route, error) { return k.RouteList(link, netlink.FAMILY_V4) })
	if err != nil {
		return found{}, fmt.Errorf("%s: list routes: %w", name, err)
	}
	for _, r := range routes {
		if r.Protocol == protoDHCP {
			return found{hint: l.Addr.Addr(), had: had}, nil
		}
		dst, ok := prefixOf(r.Dst)
		if !ok {
			dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		gw, _ := addr4(r.Gw)
		if dst != l.Addr.Masked() || gw.IsValid() {
			l.Routes = append(l.Routes, Route{Dst: dst, Gateway: gw})
		}
	}
	if text, err := os.ReadFile(pnp); err == nil {
		readPNP(text, l)
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(pnp), "ipconfig/ntp_servers")); err == nil {
		for _, field := range strings.Fields(string(text)) {
			if a, err := netip.ParseAddr(field); err == nil && len(l.NTP) < maxListed {
				l.NTP = append(l.NTP, a)
			}
		}
	}
	return found{lease: l, had: had}, nil
}

// readPNP reads the kernel's /proc/net/pnp (net/ipv4/ipconfig.c): nameserver,
// domain and bootserver lines.
func readPNP(b []byte, l *Lease) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) != 2 {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		ok := err == nil && a.Is4() && !a.IsUnspecified()
		switch f[0] {
		case "nameserver":
			if ok && len(l.DNS) < maxListed {
				l.DNS = append(l.DNS, a)
			}
		case "bootserver":
			if ok {
				l.Next = a
			}
		case "domain":
			if validName(f[1]) {
				l.Search = []string{f[1]}
			}
		}
	}
}
