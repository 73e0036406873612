package dhcp4

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"netstage/netup/lease"
)

const (
	// optMSRoutes is Microsoft's code for option 121, older than RFC 3442.
	optMSRoutes = dhcpv4.GenericOptionCode(249)
	// optCache is of the options that a site may use as it likes (RFC 3942).
	optCache = dhcpv4.GenericOptionCode(224)
	// minMTU is what every IPv4 host must accept (RFC 791); a smaller value in
	// option 26 is a mistake.
	minMTU = 576
	// minMTU6 is what every link with IPv6 must carry (RFC 8200 section 5).
	minMTU6 = 1280
)

// Parse reads an OFFER, an ACK or a BOOTP reply, normalised. What makes the
// lease unusable is an error; of a malformed or absurd option what is whole and
// makes sense is taken.
func Parse(m *dhcpv4.DHCPv4) (lease.Lease, error) {
	var l lease.Lease
	bootp := m.MessageType() == dhcpv4.MessageTypeNone
	addr, ok := addr4(m.YourIPAddr)
	if !ok || !usable(addr) {
		return l, fmt.Errorf("dhcp: the server offers the address %v, which no host can have", m.YourIPAddr)
	}
	l.Server, ok = addr4(m.ServerIdentifier())
	if !bootp && (!ok || !usable(l.Server)) {
		return l, errors.New("dhcp: the reply says nowhere which server it is of (option 54)")
	}
	l.Addr = netip.PrefixFrom(addr, maskBits(m, addr))
	l.Source = "dhcp"
	l.Routes, l.Gateways = routesFrom(m, addr)
	l.DNS = addrs(m, dhcpv4.OptionDomainNameServer)
	l.NTP = addrs(m, dhcpv4.OptionNTPServers)
	l.Search = searchFrom(m)
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, m.Options); err == nil && mtu >= minMTU {
		if l.MTU = int(mtu); l.MTU < minMTU6 { // IPv6 would go from the link
			l.MTU, l.RouteMTU = 0, l.MTU
		}
	}
	if h := lease.Text(m.HostName()); lease.ValidName(h) {
		l.Host = h
	}
	if a, ok := addr4(m.ServerIPAddr); ok && usable(a) {
		l.Next = a
	}
	l.NextName = lease.Text(m.TFTPServerName())
	if l.NextName == "" {
		l.NextName = lease.Text(m.ServerHostName)
	}
	l.BootFile = lease.Text(m.BootFileNameOption())
	if l.BootFile == "" {
		l.BootFile = lease.Text(m.BootFileName)
	}
	l.Cache = lease.Text(string(m.Options.Get(optCache)))
	if bootp { // for ever
		l.Source = "bootp"
		return l, nil
	}
	l.Time, l.T1, l.T2 = times(m)
	return l, nil
}

// times returns lease time, T1 and T2; zeros for a lease without end. A lease
// without a lease time, or with none left, is given an hour, so that it is
// renewed some day.
func times(m *dhcpv4.DHCPv4) (lease, t1, t2 time.Duration) {
	lease = m.IPAddressLeaseTime(time.Hour)
	if lease >= math.MaxUint32*time.Second {
		return 0, 0, 0
	}
	if lease < time.Second {
		lease = time.Hour
	}
	t1 = m.IPAddressRenewalTime(lease / 2)
	t2 = m.IPAddressRebindingTime(lease / 8 * 7)
	if t2 <= 0 || t2 >= lease {
		t2 = lease / 8 * 7
	}
	if t1 <= 0 || t1 >= t2 {
		t1 = min(lease/2, t2)
	}
	return lease, t1, t2
}

// maskBits takes option 1, else the class of the address as RFC 950 has it.
func maskBits(m *dhcpv4.DHCPv4, a netip.Addr) int {
	if mask := m.SubnetMask(); len(mask) == net.IPv4len {
		if ones, bits := mask.Size(); bits == 32 && ones > 0 {
			return ones
		}
	}
	ones, _ := net.IP(a.AsSlice()).DefaultMask().Size()
	if ones == 0 {
		return 24
	}
	return ones
}

// routesFrom takes option 121 when present and then ignores option 3, as RFC
// 3442 demands; Microsoft's 249 comes next. A host is no router of its own.
func routesFrom(m *dhcpv4.DHCPv4, own netip.Addr) (routes []lease.Route, more []netip.Addr) {
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClasslessStaticRoute, optMSRoutes} {
		routes, _ := classless(m.Options.Get(code))
		routes = slices.DeleteFunc(routes, func(r lease.Route) bool { return r.Gateway == own })
		if len(routes) > 0 {
			return oneDefault(routes)
		}
	}
	routers := slices.DeleteFunc(addrs(m, dhcpv4.OptionRouter), func(a netip.Addr) bool { return a == own })
	if len(routers) == 0 {
		return nil, nil
	}
	if len(routers) > 1 {
		more = routers[1:]
	}
	return []lease.Route{lease.DefaultBy(routers[0])}, more
}

// oneDefault leaves the first of several default routes; the gateways of the
// others are for when it leads nowhere.
func oneDefault(all []lease.Route) (routes []lease.Route, more []netip.Addr) {
	found := false
	for _, r := range all {
		if r.Dst.Bits() == 0 && r.Gateway.IsValid() {
			if found {
				more = append(more, r.Gateway)
				continue
			}
			found = true
		}
		routes = append(routes, r)
	}
	return routes, more
}

// searchFrom is the search list (option 119), then the domain (option 15).
func searchFrom(m *dhcpv4.DHCPv4) []string {
	var out []string
	add := func(s string) {
		s = strings.TrimSuffix(lease.Text(s), ".")
		for _, have := range out {
			if strings.EqualFold(have, s) {
				return
			}
		}
		if lease.ValidName(s) && len(out) < lease.MaxListed {
			out = append(out, s)
		}
	}
	if labels := m.DomainSearch(); labels != nil {
		for _, s := range labels.Labels {
			add(s)
		}
	}
	for _, s := range strings.Fields(lease.Text(m.DomainName())) {
		add(s)
	}
	return out
}

// addr4 is an IPv4 address; false: it is none.
func addr4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok
}

// usable reports whether a is an address a single host can have.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4() != [4]byte{255, 255, 255, 255}
}

// addrs are the addresses of an option, as far as they are whole.
func addrs(m *dhcpv4.DHCPv4, code dhcpv4.OptionCode) []netip.Addr {
	var out []netip.Addr
	for raw := m.Options.Get(code); len(raw) >= 4 && len(out) < lease.MaxListed; raw = raw[4:] {
		if a := netip.AddrFrom4([4]byte(raw)); usable(a) || a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}

// malformed are the options of a message of which a part only is of use.
func malformed(m *dhcpv4.DHCPv4) []string {
	var out []string
	for _, o := range []struct {
		code dhcpv4.OptionCode
		unit int // length of an entry
		many bool
	}{
		{dhcpv4.OptionSubnetMask, 4, false}, {dhcpv4.OptionRouter, 4, true}, {dhcpv4.OptionDomainNameServer, 4, true},
		{dhcpv4.OptionInterfaceMTU, 2, false}, {dhcpv4.OptionNTPServers, 4, true}, {dhcpv4.OptionIPAddressLeaseTime, 4, false},
		{dhcpv4.OptionRenewTimeValue, 4, false}, {dhcpv4.OptionRebindingTimeValue, 4, false},
	} {
		n := len(m.Options.Get(o.code))
		if m.Options.Has(o.code) && (n == 0 || n%o.unit != 0 || !o.many && n != o.unit) {
			out = append(out, fmt.Sprintf("option %d has %d bytes", o.code.Code(), n))
		}
	}
	if m.Options.Has(dhcpv4.OptionIPAddressLeaseTime) && m.IPAddressLeaseTime(time.Hour) == 0 {
		out = append(out, "option 51 gives the lease no time")
	}
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClasslessStaticRoute, optMSRoutes} {
		if _, whole := classless(m.Options.Get(code)); !whole {
			out = append(out, fmt.Sprintf("option %d is cut short", code.Code()))
		}
	}
	return out
}

// classless reads the routes of option 121 (RFC 3442), as far as they are
// whole.
func classless(b []byte) (routes []lease.Route, whole bool) {
	for len(b) > 0 {
		bits := int(b[0])
		n := 1 + (bits+7)/8
		if bits > 32 || len(b) < n+4 {
			return routes, false
		}
		var dst [4]byte
		copy(dst[:], b[1:n])
		gw := netip.AddrFrom4([4]byte(b[n:]))
		r := lease.Route{Dst: netip.PrefixFrom(netip.AddrFrom4(dst), bits).Masked()}
		b = b[n+4:]
		if !gw.IsUnspecified() {
			if !usable(gw) {
				continue
			}
			r.Gateway = gw
		}
		if len(routes) < lease.MaxListed*4 {
			routes = append(routes, r)
		}
	}
	return routes, true
}
