package netup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

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

// means reports whether an operator's name means a link.
func (p plan) means(text, name string, mac net.HardwareAddr) bool {
	return text == name || text == p.rename(mac) || text == "enx"+strings.ReplaceAll(mac.String(), ":", "")
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

// stack gives a link seen for the first time its part in bonds and VLANs. It
// reports whether the link has none of its own in the race then. The devices
// made join by the kernel's notification of them.
func (n *Network) stack(nl netlink.Link, joined *joining) bool {
	a := nl.Attrs()
	if n.stackedOn[a.Index] {
		return true
	}
	bond, slave := n.plan.bondOf(a.Name, a.HardwareAddr)
	vlans := n.plan.vlansOn(a.Name, a.HardwareAddr)
	if !slave && len(vlans) == 0 {
		return false
	}
	named := slices.ContainsFunc(n.plan.Entries, func(e ipparam.Entry) bool {
		return e.Link != "" && e.Method != ipparam.Off && n.plan.means(e.Link, a.Name, a.HardwareAddr)
	})
	joined.jobs = append(joined.jobs, func() {
		var err error
		if slave {
			err = n.enslave(a.Index, a.Name, bond)
		} else {
			err = n.carry(a.Index, a.Name, vlans)
		}
		if err != nil {
			n.log.Warn(fmt.Sprintf("%v", err))
		}
	})
	if !slave && named { // frames without a tag matter, too
		return false
	}
	n.stackedOn[a.Index] = true
	return true
}

// enslave makes a bond where it is not there yet, and a link its slave.
func (n *Network) enslave(index int, name string, b ipparam.Bond) error {
	fail := func(what string, err error) error {
		return fmt.Errorf("%s: %s, for bond=%s: %w", name, what, b.Name, err)
	}
	// The module makes a bond0 by itself when it is loaded.
	if err := n.kernel.create("bond", b.Name, nil); err != nil && !errors.Is(err, unix.EEXIST) {
		return fail("create a bond (the module bonding)", err)
	}
	dir := "/sys/class/net/" + b.Name + "/bonding/"
	if slaves, err := readSetting(dir + "slaves"); err != nil {
		return fail("find the bond", err)
	} else if slaves == "" {
		n.log.Info(b.Name + ": a bond of " + strings.Join(b.Slaves, ", ") + ", " + b.Options[0].Value)
		for _, o := range bondSettings(b) {
			n.log.Debug(b.Name + ": set " + o.Key + " " + o.Value)
			if err := writeSetting(dir+o.Key, o.Value); err != nil {
				n.log.Warn(fmt.Sprintf("%s: option %s=%s is refused: %v", b.Name, o.Key, o.Value, errors.Unwrap(err)))
			}
		}
	}
	bond, err := n.kernel.LinkByName(b.Name)
	if err != nil {
		return fail("find the bond", err)
	}
	if b.MTU != 0 && bond.Attrs().MTU != b.MTU {
		if err := n.kernel.LinkSetMTU(bond, b.MTU); err != nil {
			n.log.Warn(fmt.Sprintf("%s: mtu %d is refused: %v", b.Name, b.MTU, err))
		}
	}
	if err := n.kernel.setDown(index, name); err != nil { // a slave must be
		return err
	}
	n.log.Info(name + ": a slave of " + b.Name)
	if err := n.kernel.LinkSetMasterByIndex(byIndex(index), bond.Attrs().Index); err != nil {
		return fail("become a slave", err)
	}
	// Its primary can only be named once it is there.
	for _, o := range b.Options {
		if o.Key == "primary" && o.Value == name {
			if err := writeSetting(dir+"primary", name); err != nil {
				n.log.Warn(fmt.Sprintf("%s: option primary=%s is refused: %v", b.Name, name, errors.Unwrap(err)))
			}
		}
	}
	return nil
}

// bondSettings are a bond's options before it has slaves. Without any link
// monitoring a bond takes dead slaves for good.
func bondSettings(b ipparam.Bond) []ipparam.BondOption {
	var out []ipparam.BondOption
	watched := false
	for _, o := range b.Options {
		watched = watched || o.Key == "miimon" || o.Key == "arp_interval"
		if o.Key != "primary" {
			out = append(out, o)
		}
	}
	if !watched {
		out = append(out, ipparam.BondOption{Key: "miimon", Value: "100"})
	}
	return out
}

// carry makes VLANs of a link and sets it up.
func (n *Network) carry(index int, name string, vlans []ipparam.VLAN) error {
	var errs []error
	for _, v := range vlans {
		parent, id := make([]byte, 4), make([]byte, 2)
		binary.NativeEndian.PutUint32(parent, uint32(index))
		binary.NativeEndian.PutUint16(id, v.ID)
		err := n.kernel.create("vlan", v.Name, id, nl.NewRtAttr(unix.IFLA_LINK, parent))
		if err == nil {
			n.log.Info(fmt.Sprintf("%s: made, tag %d on %s", v.Name, v.ID, name))
		} else if !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("%s: create vlan=%s (the module 8021q): %w", name, v.Name, err))
		}
	}
	n.log.Debug(name + ": set up")
	if err := n.kernel.LinkSetUp(byIndex(index)); err != nil {
		errs = append(errs, fmt.Errorf("%s: set up: %w", name, err))
	}
	return errors.Join(errs...)
}

// create makes a device of a kind; vlan is a VLAN's tag. The kernel loads what
// module that takes.
func (k kernel) create(kind, name string, vlan []byte, more ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	for _, a := range more {
		req.AddData(a)
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	if vlan != nil {
		info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, vlan)
	}
	req.AddData(info)
	k.log.Debug(name + ": create " + kind)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// unstack removes what stack made, and sets down what carried it.
func (n *Network) unstack() error {
	var errs []error
	remove := func(name string) {
		l, err := n.kernel.LinkByName(name)
		if err == nil {
			n.log.Debug(name + ": remove")
			err = n.kernel.LinkDel(l)
		}
		if err != nil && !gone(err) && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: remove: %w", name, err))
		}
	}
	for _, v := range n.plan.VLANs {
		remove(v.Name)
	}
	for _, b := range n.plan.Bonds {
		remove(b.Name)
	}
	for index := range n.stackedOn {
		errs = append(errs, n.kernel.setDown(index, fmt.Sprintf("link %d", index)))
	}
	return errors.Join(errs...)
}
