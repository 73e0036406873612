// Package plan is what an operator fixed about a machine's links, and the
// firmware where nobody did: which ones take part, and by which addresses.
package plan

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/stage1/fault"
)

// Plan is what an operator fixed about the links.
type Plan struct {
	ipparam.Config
	Sysfs string // where it is mounted
}

// Check refuses what can't be meant, rather than boot another way than asked.
func (p Plan) Check() *fault.Error {
	named := slices.ContainsFunc(p.Entries, func(e ipparam.Entry) bool { return e.Method != ipparam.Off })
	if off := p.anyLink(); len(off) > 0 && off[0].Method == ipparam.Off && !named {
		return &fault.Error{Class: fault.BadParameter, Text: fmt.Sprintf("network: ip=%s switches the network off, but it is needed", off[0].Text)}
	}
	return nil
}

// anyLink returns the entries that name no device.
func (p Plan) anyLink() []ipparam.Entry {
	var out []ipparam.Entry
	for _, e := range p.Entries {
		if e.Link == "" {
			out = append(out, e)
		}
	}
	return out
}

// Rename returns the name that ifname= has for a device, or "".
func (p Plan) Rename(mac net.HardwareAddr) string {
	for _, n := range p.Names {
		if bytes.Equal(n.MAC, mac) {
			return n.Name
		}
	}
	return ""
}

// EntriesOf returns what is to be done with a link; none means that the link is
// not to take part. A link that is named by ip= gets that; the others get the
// ip= without a device, or any method when nothing is named, and BOOTIF=
// narrows those down to one. vlan= and bond= put the devices they make in the
// place of the others.
func (p Plan) EntriesOf(name string, mac net.HardwareAddr) []ipparam.Entry {
	if p.BootDev != "" && !p.Matches(p.BootDev, name, mac) {
		return nil
	}
	stacked := p.Stacked(name) != ""
	own, pinned := []ipparam.Entry(nil), !stacked && len(p.VLANs)+len(p.Bonds) > 0
	for _, e := range p.Entries {
		switch {
		case e.Link == "":
		case p.Matches(e.Link, name, mac):
			own = append(own, e)
		case e.Method != ipparam.Off:
			pinned = true
		}
	}
	if own == nil {
		own = p.anyLink()
		switch {
		case p.BootMAC != nil && !stacked && !bytes.Equal(p.BootMAC, mac):
			return nil
		case len(own) == 0 && pinned:
			return nil
		case len(own) == 0:
			return []ipparam.Entry{{Method: ipparam.Any}}
		}
	}
	if slices.ContainsFunc(own, func(e ipparam.Entry) bool { return e.Method == ipparam.Off }) {
		return nil
	}
	return own
}

// Wanted says which links take part, for people.
func (p Plan) Wanted() string {
	var out []string
	for _, e := range p.Entries {
		if e.Link != "" && e.Method != ipparam.Off {
			out = append(out, "ip="+e.Text)
		}
	}
	for _, v := range p.VLANs {
		out = append(out, "vlan="+v.Name+":"+v.Parent)
	}
	for _, b := range p.Bonds {
		out = append(out, "bond="+b.Name+":"+strings.Join(b.Slaves, ","))
	}
	if p.BootMAC != nil {
		out = append(out, "BOOTIF="+p.BootMAC.String())
	}
	if p.BootDev != "" {
		out = append(out, "bootdev="+p.BootDev)
	}
	return strings.Join(out, " ")
}

// Dynamic returns the entry by which a link finds an address of a family by
// itself, if any.
func Dynamic(entries []ipparam.Entry, f lease.Family) (ipparam.Entry, bool) {
	own := map[lease.Family][]ipparam.Method{lease.V4: {ipparam.DHCP}, lease.V6: {ipparam.DHCP6, ipparam.Auto6}}
	for _, e := range entries {
		if slices.Contains(own[f], e.Method) {
			return e, true
		}
	}
	for _, e := range entries {
		if e.Method == ipparam.Static && lease.FamilyOf(e.Addr.Addr()) == f {
			return ipparam.Entry{}, false
		}
	}
	for _, e := range entries {
		if e.Method == ipparam.Any {
			return e, true
		}
	}
	return ipparam.Entry{}, false
}

// NoAnswer says who gives no address, where none does.
func (p Plan) NoAnswer() string {
	four, six := len(p.Entries) == 0, len(p.Entries) == 0
	for _, e := range p.Entries {
		_, is4 := Dynamic([]ipparam.Entry{e}, lease.V4)
		_, is6 := Dynamic([]ipparam.Entry{e}, lease.V6)
		four, six = four || is4, six || is6
	}
	switch {
	case four && six:
		return "no DHCP answer and no IPv6 router"
	case six:
		return "no IPv6 router and no DHCPv6 answer"
	}
	return "no DHCP answer"
}

// Static turns the fixed addresses of a family into leases of a link, in order.
func (p Plan) Static(on lease.Lease, entries []ipparam.Entry, f lease.Family) []lease.Lease {
	var out []lease.Lease
	for _, e := range entries {
		if e.Method != ipparam.Static || lease.FamilyOf(e.Addr.Addr()) != f {
			continue
		}
		s := on
		s.Addr, s.Next, s.Source = e.Addr, e.Peer, "static"
		if e.PeerNet.IsValid() {
			s.Routes = []lease.Route{{Dst: e.PeerNet}}
		}
		if e.Gateway.IsValid() {
			s.Routes = append(s.Routes, lease.DefaultBy(e.Gateway))
		}
		out = append(out, p.Amend(s, e))
	}
	return out
}

// overrule puts an operator's netmask, gateway and server in the place of
// those of a DHCP server, as the kernel's own autoconfiguration does.
func overrule(l lease.Lease, e ipparam.Entry) lease.Lease {
	if e.Method == ipparam.Static || !l.Addr.Addr().Is4() {
		return l
	}
	if e.Bits != 0 {
		l.Addr = netip.PrefixFrom(l.Addr.Addr(), e.Bits)
	}
	if e.Gateway.Is4() {
		l.Routes = slices.DeleteFunc(slices.Clone(l.Routes), func(r lease.Route) bool { return r.Dst.Bits() == 0 })
		l.Routes, l.Gateways = append(l.Routes, lease.DefaultBy(e.Gateway)), nil
	}
	if e.Peer.Is4() {
		l.Next = e.Peer
	}
	return l
}

// Amend adds what the operator said to a lease; it comes first.
func (p Plan) Amend(l lease.Lease, e ipparam.Entry) lease.Lease {
	l = overrule(l, e)
	var dns []netip.Addr
	for _, a := range slices.Concat(p.DNS, e.DNS, l.DNS) {
		if !slices.Contains(dns, a) {
			dns = append(dns, a)
		}
	}
	l.DNS = dns
	l.NTP = append(slices.Clone(e.NTP), l.NTP...)
	if e.MTU != 0 {
		l.MTU, l.RouteMTU = e.MTU, 0
	}
	if e.Hostname != "" {
		l.Host = e.Hostname
	}
	for _, r := range p.Routes {
		here := r.Link != "" && p.Matches(r.Link, l.Link, l.MAC) ||
			r.Link == "" && l.Addr.Masked().Contains(r.Gateway)
		if here && r.Dst.Addr().Is4() == l.Addr.Addr().Is4() {
			l.Routes = append(slices.Clone(l.Routes), lease.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
	}
	return l
}

// Prepare gives a link the hardware address asked for, before it is set up, and
// returns the one that it has then. The logger is the link's.
func (p Plan) Prepare(log *slog.Logger, nl netlink.Link, entries []ipparam.Entry) net.HardwareAddr {
	mac := nl.Attrs().HardwareAddr
	for _, e := range entries {
		if e.MAC == nil || bytes.Equal(e.MAC, mac) {
			continue
		}
		log.Info("hardware address " + e.MAC.String())
		if err := netlink.LinkSetHardwareAddr(nl, e.MAC); err != nil {
			log.Warn("set hardware address "+e.MAC.String(), "err", err)
		} else {
			mac = e.MAC
		}
	}
	return mac
}

// OwnRoutes are those of a lease's routes that the operator gave it, by e and
// for all links.
func (p Plan) OwnRoutes(l lease.Lease, e ipparam.Entry) []lease.Route {
	l.Routes = nil
	return p.Amend(l, e).Routes
}
