package netup

import (
	"net"
	"slices"
	"strings"

	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
)

// stacked reports whether name is a device that vlan= or bond= asks for, by
// the kernel's word for its kind; "" if not.
func (p plan) stacked(name string) string {
	if slices.ContainsFunc(p.VLANs, func(v ipparam.VLAN) bool { return v.Name == name }) {
		return "vlan"
	}
	if slices.ContainsFunc(p.Bonds, func(b ipparam.Bond) bool { return b.Name == name }) {
		return "bond"
	}
	return ""
}

// means reports whether an operator's name means a link: the one that ifname=
// has for it, else the kernel's, or one as systemd makes them.
func (p plan) means(text, name string, mac net.HardwareAddr) bool {
	if own := p.rename(mac); own != "" && text == own || own == "" && text == name {
		return true
	}
	return strings.HasPrefix(text, "en") && slices.Contains(rtnl.PredictableNames(name, mac, p.sysfs), text)
}

// bondOf returns the bond that a link is to be a slave of.
func (p plan) bondOf(name string, mac net.HardwareAddr) (ipparam.Bond, bool) {
	for _, b := range p.Bonds {
		if slices.ContainsFunc(b.Slaves, func(s string) bool { return p.means(s, name, mac) }) {
			return b, true
		}
	}
	return ipparam.Bond{}, false
}

// vlansOn returns the VLANs that a link is to carry.
func (p plan) vlansOn(name string, mac net.HardwareAddr) []ipparam.VLAN {
	var out []ipparam.VLAN
	for _, v := range p.VLANs {
		if p.means(v.Parent, name, mac) {
			out = append(out, v)
		}
	}
	return out
}

// carries reports whether l is what another link is stacked on.
func (p plan) carries(l, other *link) bool {
	return slices.ContainsFunc(p.vlansOn(l.name, l.mac), func(v ipparam.VLAN) bool { return v.Name == other.name })
}
