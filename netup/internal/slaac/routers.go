package slaac

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

// maxRouters bounds the routers that a link listens to.
const maxRouters = 8

// maxPrefixes bounds the addresses that a link takes by itself.
const maxPrefixes = 4

// routers are the routers of a link, by what each of them said, in the order in
// which they were first heard.
type routers []advert

// update adds an advertisement to what the same router said before.
func (rs routers) update(a advert) routers {
	for i := range rs {
		if rs[i].router == a.router {
			rs[i] = a.mergedWith(rs[i])
			return rs
		}
	}
	if len(rs) == maxRouters {
		return rs
	}
	return append(rs, a)
}

func (rs routers) managed() bool {
	return slices.ContainsFunc(rs, func(a advert) bool { return a.managed })
}

func (rs routers) other() bool {
	return slices.ContainsFunc(rs, func(a advert) bool { return a.other })
}

// gateway is the default router to use: the most preferred one that has not led
// nowhere yet, the first heard among equals; nil when none is one, or is any
// more.
func (rs routers) gateway(now time.Time) *advert {
	var best *advert
	for i := range rs {
		a := &rs[i]
		if a.lifetime > 0 && now.Before(a.at.Add(a.lifetime)) && (best == nil || a.tried < best.tried || a.tried == best.tried && a.rank > best.rank) {
			best = a
		}
	}
	return best
}

// demoting are the routers with those of a list behind all others of the same use,
// in the list's order: they led nowhere.
func (rs routers) demoting(tried []netip.Addr) routers {
	if len(tried) == 0 {
		return rs
	}
	out := slices.Clone(rs)
	for i := range out {
		out[i].tried = 1 + slices.Index(tried, out[i].router)
	}
	return out
}

// prefixes are those of all routers that now live and pick lets through, each
// once, with the time that is left of it; 0 is for ever.
func (rs routers) prefixes(now time.Time, pick func(prefixInfo) bool) (out []netip.Prefix, left []time.Duration, deprecated []bool) {
	for _, a := range rs {
		for _, p := range a.prefixes {
			life := p.at.Add(time.Duration(p.valid) * time.Second).Sub(now)
			if life <= 0 || !pick(p) || slices.Contains(out, p.prefix) {
				continue
			}
			if p.valid == rtnl.Forever {
				life = 0
			}
			out, left, deprecated = append(out, p.prefix), append(left, life), append(deprecated, p.preferred == 0)
		}
	}
	return out, left, deprecated
}

// routing is what the routers say besides addresses, as a lease without one.
func (rs routers) routing(link string, now time.Time) lease.Lease {
	l := lease.Lease{}
	onLink, _, _ := rs.prefixes(now, func(p prefixInfo) bool { return p.onLink })
	for _, p := range onLink {
		l.Routes = append(l.Routes, lease.Route{Dst: p})
	}
	if gw := rs.gateway(now); gw != nil {
		l.Routes = append(l.Routes, lease.DefaultBy(gw.router))
		l.Server = gw.router
	}
	for _, a := range rs {
		for _, p := range a.routes {
			if r := (lease.Route{Dst: p, Gateway: a.router}); !slices.ContainsFunc(l.Routes, func(have lease.Route) bool { return have.Dst == p }) {
				l.Routes = append(l.Routes, r)
			}
		}
		for _, d := range a.dns {
			l.DNS = lease.AppendAddr(l.DNS, zoned(d, link))
		}
		for _, s := range a.search {
			l.Search = lease.AppendName(l.Search, s)
		}
		if l.MTU == 0 {
			l.MTU = a.mtu
		}
		if !l.Server.IsValid() {
			l.Server = a.router
		}
	}
	return l
}

// slaac is a lease with an address of each prefix that allows it (RFC 4862),
// with an interface identifier from the MAC. Global ones come first, as a
// unique local one may be of use within a site only. False: there is none.
func (rs routers) slaac(link string, mac net.HardwareAddr, now time.Time) (lease.Lease, bool) {
	prefixes, left, deprecated := rs.prefixes(now, func(p prefixInfo) bool { return p.autoconf && p.prefix.Bits() == 64 })
	if len(prefixes) == 0 {
		return lease.Lease{}, false
	}
	order := make([]int, len(prefixes))
	for i := range order {
		order[i] = i
	}
	worse := func(i int) int {
		n := 0
		if deprecated[i] {
			n += 2
		}
		if prefixes[i].Addr().IsPrivate() {
			n++
		}
		return n
	}
	slices.SortStableFunc(order, func(i, j int) int { return worse(i) - worse(j) })
	l := rs.routing(link, now)
	l.Source, l.Acquired = "ra", now
	for n, i := range order[:min(len(order), maxPrefixes)] {
		addr := netip.PrefixFrom(EUI64(prefixes[i].Addr(), mac), 128)
		if slices.ContainsFunc(l.Routes, func(r lease.Route) bool { return r.Dst == prefixes[i] && !r.Gateway.IsValid() }) {
			addr = netip.PrefixFrom(addr.Addr(), 64)
		}
		if n == 0 {
			l.Addr = addr
		} else if !deprecated[i] {
			l.More = append(l.More, addr)
		} else {
			continue
		}
		if left[i] != 0 && (l.Time == 0 || left[i] < l.Time) {
			l.Time = left[i]
		}
	}
	l.Routes = slices.DeleteFunc(l.Routes, func(r lease.Route) bool { return r.Dst == l.Addr.Masked() && !r.Gateway.IsValid() })
	return l, true
}

// leased is the lease of an address that a DHCPv6 server gave at a time, on the
// link that the routers describe.
func (rs routers) leased(r dhcp6.Reply, at time.Time, link string, now time.Time) lease.Lease {
	l := rs.routing(link, now)
	l.Source, l.Acquired = "dhcp6", at
	l.Addr = netip.PrefixFrom(r.Addr, 128)
	l.Time, l.T1, l.T2 = r.Valid, r.T1, r.T2
	for _, route := range l.Routes {
		if !route.Gateway.IsValid() && route.Dst.Contains(r.Addr) {
			l.Addr = netip.PrefixFrom(r.Addr, route.Dst.Bits())
			break
		}
	}
	l.Routes = slices.DeleteFunc(l.Routes, func(r lease.Route) bool { return r.Dst == l.Addr.Masked() && !r.Gateway.IsValid() })
	return informed(l, r, link)
}

// informed adds what a DHCPv6 server says besides an address; it comes before
// what routers say (RFC 8106 section 5.3.1).
func informed(l lease.Lease, r dhcp6.Reply, link string) lease.Lease {
	var dns []netip.Addr
	for _, a := range slices.Concat(r.DNS, l.DNS) {
		dns = lease.AppendAddr(dns, zoned(a, link))
	}
	var search []string
	for _, s := range slices.Concat(r.Search, l.Search) {
		search = lease.AppendName(search, s)
	}
	l.DNS, l.Search = dns, search
	for _, a := range r.NTP {
		l.NTP = append(l.NTP, zoned(a, link))
	}
	if h := lease.Text(r.Host); lease.ValidName(h) {
		l.Host = h
	}
	l.BootFile = lease.Text(r.BootFile)
	for _, s := range r.BootParams {
		if s = lease.Text(s); s != "" {
			l.BootParams = append(l.BootParams, s)
		}
	}
	return l
}

// zoned says on which link a link-local address is.
func zoned(a netip.Addr, link string) netip.Addr {
	if a.IsLinkLocalUnicast() {
		return a.WithZone(link)
	}
	return a
}
