package netup

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
)

// advert is what a router advertisement says (RFC 4861, RFC 8106).
type advert struct {
	router   netip.Addr
	lifetime time.Duration // as a default router; 0: it is none
	managed  bool          // addresses come from DHCPv6
	mtu      int
	prefixes []prefixInfo
	dns      []netip.Addr
	search   []string
}

type prefixInfo struct {
	prefix           netip.Prefix
	onLink, autoconf bool
	valid            uint32 // seconds; 0xffffffff: for ever
}

var errNoAdvert = errors.New("no router advertisement")

// parseAdvert reads an ICMPv6 message that came from router.
func parseAdvert(b []byte, router netip.Addr) (advert, error) {
	a := advert{router: router}
	if len(b) < 16 || b[0] != 134 || b[1] != 0 || !router.IsLinkLocalUnicast() {
		return a, errNoAdvert
	}
	a.managed = b[5]&0x80 != 0
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

// option reads one option, type and length included; what makes no sense is
// left out.
func (a *advert) option(typ byte, o []byte) {
	switch {
	case typ == 3 && len(o) == 32: // prefix information
		p := prefixInfo{onLink: o[3]&0x80 != 0, autoconf: o[3]&0x40 != 0, valid: binary.BigEndian.Uint32(o[4:])}
		addr := netip.AddrFrom16([16]byte(o[16:32]))
		if o[2] <= 128 && !addr.IsLinkLocalUnicast() && !addr.IsMulticast() && !addr.Is4In6() && len(a.prefixes) < maxListed {
			p.prefix = netip.PrefixFrom(addr, int(o[2])).Masked()
			a.prefixes = append(a.prefixes, p)
		}
	case typ == 5 && len(o) == 8: // MTU
		if m := binary.BigEndian.Uint32(o[4:]); m >= 1280 && m <= 65535 {
			a.mtu = int(m)
		}
	case typ == 25 && binary.BigEndian.Uint32(o[4:]) > 0: // DNS servers
		for s := o[8:]; len(s) >= 16; s = s[16:] {
			addr := netip.AddrFrom16([16]byte(s[:16]))
			if !addr.IsUnspecified() && !addr.IsMulticast() && len(a.dns) < maxListed && !slices.Contains(a.dns, addr) {
				a.dns = append(a.dns, addr)
			}
		}
	case typ == 31 && binary.BigEndian.Uint32(o[4:]) > 0: // search list
		labels, err := rfc1035label.FromBytes(o[8:])
		if err != nil {
			return
		}
		for _, s := range labels.Labels {
			if s = strings.TrimSuffix(s, "."); validName(s) && len(a.search) < maxListed {
				a.search = append(a.search, s)
			}
		}
	}
}

// lease makes an address of the first prefix that allows it (RFC 4862), with
// an interface identifier from the MAC.
func (a advert) lease(link string, mac net.HardwareAddr) (Lease, error) {
	for _, p := range a.prefixes {
		if !p.autoconf || p.prefix.Bits() != 64 || p.valid == 0 {
			continue
		}
		l := Lease{Source: "ra", Server: a.router, MTU: a.mtu, Search: a.search}
		bits := 128
		if p.onLink {
			bits = 64
		}
		l.Addr = netip.PrefixFrom(eui64(p.prefix.Addr(), mac), bits)
		if p.valid != forever {
			l.Time = time.Duration(p.valid) * time.Second
		}
		if a.lifetime > 0 {
			l.Routes = []Route{{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Gateway: a.router}}
		}
		for _, d := range a.dns {
			if d.IsLinkLocalUnicast() {
				d = d.WithZone(link)
			}
			l.DNS = append(l.DNS, d)
		}
		return l, nil
	}
	if a.managed {
		return Lease{}, fmt.Errorf("router %s leaves addresses to DHCPv6, which is not supported", a.router)
	}
	return Lease{}, fmt.Errorf("router %s advertises no prefix to take an address from", a.router)
}

// eui64 fills the lower half of a with the modified EUI-64 of an Ethernet
// address (RFC 4291 appendix A).
func eui64(a netip.Addr, mac net.HardwareAddr) netip.Addr {
	b := a.As16()
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b)
}
