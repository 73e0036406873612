package slaac

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/rfc1035label"

	"netstage/netup/lease"
)

// advert is what a router advertisement says (RFC 4861, RFC 8106, RFC 4191).
type advert struct {
	router   netip.Addr
	at       time.Time     // when it came
	lifetime time.Duration // as a default router; 0: it is none
	rank     int           // the router's preference: 1 high, 0 medium, -1 low
	managed  bool          // addresses come from DHCPv6
	other    bool          // the rest comes from DHCPv6
	mtu      int
	prefixes []prefixInfo
	routes   []netip.Prefix // more specific than its default route
	dns      []netip.Addr
	noDNS    []netip.Addr // servers that are not to be asked any more
	search   []string
	tried    int // 0: it has not led nowhere; else the higher the later it did
}

type prefixInfo struct {
	prefix           netip.Prefix
	onLink, autoconf bool
	valid, preferred uint32 // seconds; 0xffffffff: for ever
	at               time.Time
}

var errNoAdvert = errors.New("no router advertisement")

// parseAdvert reads an ICMPv6 message that came from router.
func parseAdvert(b []byte, router netip.Addr) (advert, error) {
	a := advert{router: router}
	if len(b) < 16 || b[0] != 134 || b[1] != 0 || !router.IsLinkLocalUnicast() {
		return a, errNoAdvert
	}
	a.managed, a.other, a.rank = b[5]&0x80 != 0, b[5]&0x40 != 0, rank(b[5])
	a.lifetime = time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Second
	for o := b[16:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || len(o) < int(o[1])*8 {
			return a, fmt.Errorf("%w: an option is cut short", errNoAdvert)
		}
		a.option(o[0], o[:int(o[1])*8])
		o = o[int(o[1])*8:]
	}
	return a, nil
}

// receivedAt says when an advertisement came.
func (a advert) receivedAt(at time.Time) advert {
	a.at, a.prefixes = at, slices.Clone(a.prefixes)
	for i := range a.prefixes {
		a.prefixes[i].at = at
	}
	return a
}

// mergedWith adds what a router said before and does not mention now: it goes on
// (RFC 4861 section 6.3.4), for as long as it lives.
func (a advert) mergedWith(last advert) advert {
	var prefixes []prefixInfo // in the order in which they were first heard of
	for _, p := range last.prefixes {
		i := slices.IndexFunc(a.prefixes, func(q prefixInfo) bool { return q.prefix == p.prefix })
		switch {
		case i >= 0:
			prefixes = append(prefixes, a.prefixes[i])
			a.prefixes = slices.Delete(a.prefixes, i, i+1)
		case a.at.Before(p.at.Add(time.Duration(p.valid) * time.Second)):
			prefixes = append(prefixes, p)
		}
	}
	prefixes = append(prefixes, a.prefixes...)
	a.prefixes = prefixes[:min(len(prefixes), lease.MaxListed)]
	if a.mtu == 0 {
		a.mtu = last.mtu
	}
	if len(a.dns) == 0 {
		a.dns = slices.DeleteFunc(slices.Clone(last.dns), func(s netip.Addr) bool { return slices.Contains(a.noDNS, s) })
	}
	if len(a.search) == 0 {
		a.search = last.search
	}
	return a
}

// rank reads the two bits of a preference (RFC 4191 section 2.1).
func rank(flags byte) int {
	switch flags >> 3 & 3 {
	case 1:
		return 1
	case 3:
		return -1
	}
	return 0
}

// option reads one option, type and length included; what makes no sense is
// left out.
func (a *advert) option(typ byte, o []byte) {
	switch {
	case typ == 3 && len(o) == 32:
		a.addPrefix(o)
	case typ == 5 && len(o) == 8: // MTU
		if m := binary.BigEndian.Uint32(o[4:]); m >= 1280 && m <= 65535 {
			a.mtu = int(m)
		}
	case typ == 24 && len(o) <= 24:
		a.addRoute(o)
	case typ == 25 && binary.BigEndian.Uint32(o[4:]) == 0:
		a.noDNS = appendServers(a.noDNS, o)
	case typ == 25:
		a.dns = appendServers(a.dns, o)
	case typ == 31 && binary.BigEndian.Uint32(o[4:]) > 0:
		a.addSearch(o)
	}
}

// addPrefix reads prefix information (RFC 4861 section 4.6.2).
func (a *advert) addPrefix(o []byte) {
	p := prefixInfo{onLink: o[3]&0x80 != 0, autoconf: o[3]&0x40 != 0, valid: binary.BigEndian.Uint32(o[4:]), preferred: binary.BigEndian.Uint32(o[8:])}
	p.autoconf = p.autoconf && p.preferred <= p.valid // RFC 4862 section 5.5.3 c
	addr := netip.AddrFrom16([16]byte(o[16:32]))
	if o[2] <= 128 && routable(addr) && len(a.prefixes) < lease.MaxListed {
		p.prefix = netip.PrefixFrom(addr, int(o[2])).Masked()
		a.prefixes = append(a.prefixes, p)
	}
}

// addRoute reads route information (RFC 4191 section 2.3).
func (a *advert) addRoute(o []byte) {
	var addr [16]byte
	copy(addr[:], o[8:])
	p := netip.PrefixFrom(netip.AddrFrom16(addr), int(o[2]))
	lifetime := binary.BigEndian.Uint32(o[4:])
	if p.IsValid() && p.Bits() > 0 && routable(p.Addr()) && lifetime > 0 && len(a.routes) < lease.MaxListed {
		a.routes = append(a.routes, p.Masked())
	}
}

// routable reports whether an address can be of a network that a router leads
// to.
func routable(a netip.Addr) bool {
	return !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.Is4In6()
}

// appendServers adds the DNS servers of an option (RFC 8106 section 5.1).
func appendServers(to []netip.Addr, o []byte) []netip.Addr {
	for s := o[8:]; len(s) >= 16; s = s[16:] {
		if addr := netip.AddrFrom16([16]byte(s[:16])); !addr.IsUnspecified() && !addr.IsMulticast() {
			to = lease.AppendAddr(to, addr)
		}
	}
	return to
}

// addSearch reads a search list (RFC 8106 section 5.2).
func (a *advert) addSearch(o []byte) {
	labels, err := rfc1035label.FromBytes(o[8:])
	if err != nil {
		return
	}
	for _, s := range labels.Labels {
		if s = strings.TrimSuffix(s, "."); lease.ValidName(s) && len(a.search) < lease.MaxListed {
			a.search = append(a.search, s)
		}
	}
}

// EUI64 fills the lower half of a with the modified EUI-64 of an Ethernet
// address (RFC 4291 appendix A).
func EUI64(a netip.Addr, mac net.HardwareAddr) netip.Addr {
	b := a.As16()
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b)
}
