package netup

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/netup/networkd"
)

// Networkd describes the network as it stands. The other address family's lease
// of the link is kept too, where it has come by now.
func (n *Network) Networkd() networkd.State {
	l := n.Lease()
	k := networkd.State{
		Version: 1, Link: l.Link, MAC: l.MAC.String(), Source: l.Source,
		DNS: l.DNS, Search: l.Search, NTP: l.NTP, MTU: l.MTU, Hostname: l.Host,
		Server: given(l.Server), Next: given(l.Next), NextName: l.NextName, BootFile: l.BootFile, BootParams: l.BootParams,
	}
	leases := n.board.leases()
	if len(leases) > 1 {
		k.Other = leases[1].Source
	}
	n.board.mu.Lock()
	winner := n.board.winner
	if winner != nil {
		winner.identify(n.opts.Sysfs)
	}
	n.board.mu.Unlock()
	entries := map[lease.Family]ipparam.Entry{} // by which the link found its addresses
	if winner != nil {
		k.Driver, k.Kind = winner.driver, n.plan.Stacked(l.Link)
		for _, f := range []lease.Family{lease.V4, lease.V6} {
			leases = append(leases, n.plan.Static(lease.Lease{Link: l.Link, Index: winner.index, MAC: winner.mac}, winner.entries, f)...)
			entries[f], _ = plan.Dynamic(winner.entries, f)
		}
		k.ClientID, k.Asked6 = hex.EncodeToString(entries[lease.V4].ClientID), entries[lease.V6].Method == ipparam.DHCP6
	}
	if k.Kind != "" {
		k.Stack = stackOf(n.kernel, n.plan, l.Link)
	}
	for _, l := range leases {
		addLease(&k, n.plan, l, entries)
	}
	if l.Time > 0 {
		k.Lease = int(l.Time / time.Second)
		k.Left = max(int(time.Until(l.Acquired.Add(l.Time))/time.Second), 0)
	}
	return k
}

// addLease adds a lease's addresses and routes. The entries are those by which
// the link found its addresses.
func addLease(k *networkd.State, p plan.Plan, l lease.Lease, entries map[lease.Family]ipparam.Entry) {
	if l.RouteMTU != 0 {
		k.RouteMTU = l.RouteMTU
	}
	for _, a := range l.Addrs() {
		if a.IsValid() && !slices.Contains(k.Addresses, a) {
			k.Addresses = append(k.Addresses, a)
		}
	}
	family := lease.FamilyOf(l.Addr.Addr())
	own := p.OwnRoutes(l, entries[family])
	for _, r := range l.Routes {
		route := networkd.Route{To: r.Dst, Via: given(r.Gateway), Own: slices.Contains(own, r)}
		if !slices.ContainsFunc(k.Routes, func(have networkd.Route) bool { return have.To == r.Dst && sameAddr(have.Via, r.Gateway) }) {
			k.Routes = append(k.Routes, route)
		}
	}
	// A router's MTU is IPv6's alone, and networkd hears it again.
	if l.MTU != 0 && (family == lease.V4 || l.Source == "static" || entries[lease.V6].MTU != 0) {
		k.LinkMTU = l.MTU
	}
}

// given is an address, nil where there is none.
func given(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return &a
}

// sameAddr reports whether p is what given makes of a.
func sameAddr(p *netip.Addr, a netip.Addr) bool {
	if p == nil {
		return !a.IsValid()
	}
	return *p == a
}

// stackOf describes a stacked link and all beneath it, itself first.
func stackOf(kernel rtnl.Conn, p plan.Plan, name string) []networkd.Device {
	var out []networkd.Device
	var add func(name string)
	add = func(name string) {
		l, err := kernel.LinkByName(name)
		if err != nil || slices.ContainsFunc(out, func(d networkd.Device) bool { return d.Name == name }) {
			return
		}
		a := l.Attrs()
		d := networkd.Device{Name: name, Kind: p.Stacked(name), MAC: a.HardwareAddr.String()}
		if len(a.PermHWAddr) == len(a.HardwareAddr) && !slices.Equal(a.PermHWAddr, make(net.HardwareAddr, len(a.PermHWAddr))) {
			d.MAC = a.PermHWAddr.String()
		}
		switch d.Kind {
		case "vlan":
			for _, v := range p.VLANs {
				if v.Name == name {
					d.Tag = int(v.ID)
				}
			}
			if parent, err := kernel.LinkByIndex(a.ParentIndex); err == nil {
				d.Over = []string{parent.Attrs().Name}
			}
		case "bond":
			describeBond(&d, p)
		}
		out = append(out, d)
		for _, under := range d.Over {
			add(under)
		}
	}
	add(name)
	return out
}

// describeBond adds a bond's slaves and options.
func describeBond(d *networkd.Device, p plan.Plan) {
	dir := bondDir(d.Name)
	slaves, _ := rtnl.ReadSetting(dir + "slaves")
	d.Over, d.Options = strings.Fields(slaves), map[string]string{}
	for _, b := range p.Bonds {
		if b.Name != d.Name {
			continue
		}
		d.MTU = b.MTU
		for _, o := range append(bondSettings(b), b.Options...) {
			value := o.Value
			// The kernel says "fast 1" of what may have been given as 1.
			if text, err := rtnl.ReadSetting(dir + o.Key); err == nil && o.Key != "arp_ip_target" {
				value, _, _ = strings.Cut(text, " ")
			}
			d.Options[o.Key] = value
		}
	}
}
