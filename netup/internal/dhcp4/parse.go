package dhcp4

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"netstage/netup/lease"
)

const (
	// optMSRoutes is Microsoft's code for option 121, older than RFC 3442.
	optMSRoutes = dhcpv4.GenericOptionCode(249)
	// minMTU is what every IPv4 host must accept (RFC 791); a smaller value in
	// option 26 is a mistake.
	minMTU = 576
)

// Parse reads an OFFER or ACK, its option overload merged. What makes the lease unusable is an error;
// a malformed or absurd option is left out.
func Parse(m *dhcpv4.DHCPv4) (lease.Lease, error) {
	var l lease.Lease
	addr, ok := addr4(m.YourIPAddr)
	if !ok || !usable(addr) {
		return l, fmt.Errorf("dhcp: the server offers the address %v, which no host can have", m.YourIPAddr)
	}
	l.Server, ok = addr4(m.ServerIdentifier())
	if !ok || !usable(l.Server) {
		return l, errors.New("dhcp: the reply has no server identifier (option 54)")
	}
	l.Addr = netip.PrefixFrom(addr, maskBits(m, addr))
	l.Source = "dhcp"
	l.Routes = routesFrom(m)
	l.DNS = addrs(m.DNS())
	l.NTP = addrs(m.NTPServers())
	l.Search = searchFrom(m)
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, m.Options); err == nil && mtu >= minMTU {
		l.MTU = int(mtu)
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
	l.Time, l.T1, l.T2 = times(m)
	return l, nil
}

// times returns lease time, T1 and T2; zeros for a lease without end. A lease
// without a lease time is given an hour, so that it is renewed some day.
func times(m *dhcpv4.DHCPv4) (lease, t1, t2 time.Duration) {
	lease = m.IPAddressLeaseTime(time.Hour)
	if lease >= math.MaxUint32*time.Second {
		return 0, 0, 0
	}
	lease = max(lease, time.Second)
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
// 3442 demands; Microsoft's 249 comes next.
func routesFrom(m *dhcpv4.DHCPv4) []lease.Route {
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClasslessStaticRoute, optMSRoutes} {
		raw := m.Options.Get(code)
		var rs dhcpv4.Routes
		if len(raw) == 0 || rs.FromBytes(raw) != nil {
			continue
		}
		var out []lease.Route
		for _, r := range rs {
			if len(out) == lease.MaxListed*4 {
				break
			}
			ones, _ := r.Dest.Mask.Size()
			dst, ok := addr4(r.Dest.IP)
			if !ok {
				continue
			}
			route := lease.Route{Dst: netip.PrefixFrom(dst, ones).Masked()}
			if gw, ok := addr4(r.Router); ok && !gw.IsUnspecified() {
				if !usable(gw) {
					continue
				}
				route.Gateway = gw
			}
			out = append(out, route)
		}
		if len(out) > 0 {
			return out
		}
	}
	for _, a := range addrs(m.Router()) {
		return []lease.Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: a}}
	}
	return nil
}

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

func addr4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok
}

// usable reports whether a is an address a single host can have.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4() != [4]byte{255, 255, 255, 255}
}

func addrs(ips []net.IP) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		a, ok := addr4(ip)
		if !ok || !(usable(a) || a.IsLoopback()) || len(out) == lease.MaxListed {
			continue
		}
		out = append(out, a)
	}
	return out
}
