package plan

import (
	"net"
	"slices"
	"strings"

	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
)

// Stacked reports whether name is a device that vlan= or bond= asks for, by
// the kernel's word for its kind; "" if not.
func (p Plan) Stacked(name string) string {
	if slices.ContainsFunc(p.VLANs, func(v ipparam.VLAN) bool { return v.Name == name }) {
		return "vlan"
	}
	if slices.ContainsFunc(p.Bonds, func(b ipparam.Bond) bool { return b.Name == name }) {
		return "bond"
	}
	return ""
}

// Matches reports whether an operator's name means a link: the one that ifname=
// has for it, else the kernel's, or one as systemd makes them.
func (p Plan) Matches(text, name string, mac net.HardwareAddr) bool {
	if own := p.Rename(mac); own != "" && text == own || own == "" && text == name {
		return true
	}
	return strings.HasPrefix(text, "en") && slices.Contains(rtnl.PredictableNames(name, mac, p.Sysfs), text)
}

// BondOf returns the bond that a link is to be a slave of.
func (p Plan) BondOf(name string, mac net.HardwareAddr) (ipparam.Bond, bool) {
	for _, b := range p.Bonds {
		if slices.ContainsFunc(b.Slaves, func(s string) bool { return p.Matches(s, name, mac) }) {
			return b, true
		}
	}
	return ipparam.Bond{}, false
}

// VLANsOn returns the VLANs that a link is to carry.
func (p Plan) VLANsOn(name string, mac net.HardwareAddr) []ipparam.VLAN {
	var out []ipparam.VLAN
	for _, v := range p.VLANs {
		if p.Matches(v.Parent, name, mac) {
			out = append(out, v)
		}
	}
	return out
}

// Carries reports whether a link is what another one is stacked on.
func (p Plan) Carries(name string, mac net.HardwareAddr, other string) bool {
	return slices.ContainsFunc(p.VLANsOn(name, mac), func(v ipparam.VLAN) bool { return v.Name == other })
}
