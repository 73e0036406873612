package ipparam

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// VLAN is one vlan=: a device for one tag of another device.
type VLAN struct {
	Name   string
	ID     uint16 // 1 to 4094
	Parent string
}

// Bond is one bond=: a device of several.
type Bond struct {
	Name    string
	Slaves  []string
	Options []BondOption // in the order given, the mode first
	MTU     int          // 0: not given
}

// BondOption is an option as the kernel's bonding.rst has it, and as its sysfs
// takes it.
type BondOption struct{ Key, Value string }

// bondOptions are those that make sense before a system runs.
var bondOptions = []string{
	"mode", "miimon", "updelay", "downdelay", "use_carrier", "arp_interval", "arp_ip_target", "arp_validate",
	"arp_all_targets", "primary", "primary_reselect", "fail_over_mac", "lacp_rate", "ad_select", "min_links",
	"xmit_hash_policy", "all_slaves_active", "lp_interval", "peer_notif_delay", "arp_missed_max", "lacp_active", "ad_actor_sys_prio", "ad_user_port_key", "num_grat_arp", "num_unsol_na", "resend_igmp", "packets_per_slave", "tlb_dynamic_lb",
}

var bondModes = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

// parseVLAN reads NAME:DEVICE, where NAME ends in the tag: vlan5, vlan0005,
// eth0.5 or eth0.0005.
func (c *Config) parseVLAN(s string) (VLAN, error) {
	fail := func(field, got, want string) error {
		return &Error{Param: "vlan=" + s, Field: field, Got: got, Want: want}
	}
	name, parent, _ := strings.Cut(s, ":")
	if !validLink(name) {
		return VLAN{}, fail("vlanname", name, wantLink)
	}
	digits := name[len(strings.TrimRight(name, "0123456789")):]
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		digits = name[i+1:]
	} else if !strings.HasPrefix(name, "vlan") {
		digits = ""
	}
	id, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || id < 1 || id > 4094 {
		return VLAN{}, fail("vlanname", name, "a name that ends in a tag from 1 to 4094, as vlan5 or eth0.5 do")
	}
	if !validLink(parent) || parent == name {
		return VLAN{}, fail("phydevice", parent, "the device that the tagged frames pass")
	}
	v := VLAN{name, uint16(id), parent}
	for _, o := range c.VLANs {
		if o != v && (o.Name == name || o.Parent == parent && o.ID == v.ID) {
			return VLAN{}, fail("vlanname", name, "one device for each tag, but "+o.Name+" is there")
		}
	}
	return v, nil
}

// parseBond reads NAME[:SLAVES[:OPTIONS[:MTU]]], lists with commas. dracut's
// defaults are bond0, eth0 and eth1, and balance-rr.
func (c *Config) parseBond(s string) (Bond, error) {
	fail := func(field, got, want string) error {
		return &Error{Param: "bond=" + s, Field: field, Got: got, Want: want}
	}
	f, ok := split(s)
	if !ok || len(f) > 4 {
		return Bond{}, fail("", s, "NAME:SLAVES:OPTIONS:MTU")
	}
	f = append(f, "", "", "")
	b := Bond{Name: "bond0", Slaves: []string{"eth0", "eth1"}}
	if f[0] != "" {
		b.Name = f[0]
	}
	if !validLink(b.Name) {
		return Bond{}, fail("bondname", f[0], wantLink)
	}
	if f[1] != "" {
		b.Slaves = strings.Split(f[1], ",")
	}
	for i, name := range b.Slaves {
		if !validLink(name) || name == b.Name || slices.Contains(b.Slaves[:i], name) {
			return Bond{}, fail("bondslaves", name, "names of different devices, with commas between")
		}
	}
	var option, want string
	if b.Options, option, want = parseBondOptions(f[2]); want != "" {
		return Bond{}, fail("options", option, want)
	}
	if b.MTU, ok = parseMTU(f[3]); !ok {
		return Bond{}, fail("mtu", f[3], wantMTU)
	}
	for _, o := range c.Bonds {
		shared := slices.ContainsFunc(b.Slaves, func(s string) bool { return slices.Contains(o.Slaves, s) })
		if !o.same(b) && (o.Name == b.Name || shared) {
			return Bond{}, fail("bondname", b.Name, "one bond for each name and each device, but bond "+o.Name+" has "+strings.Join(o.Slaves, ","))
		}
	}
	return b, nil
}

// parseBondOptions reads a list of options, and puts the mode first. The other
// results are the option that is wrong and what was expected in its place.
func parseBondOptions(list string) (options []BondOption, wrong, want string) {
	mode := BondOption{"mode", "balance-rr"}
	if list == "" {
		return []BondOption{mode}, "", ""
	}
	for _, o := range strings.Split(list, ",") {
		key, value, has := strings.Cut(o, "=")
		if !has && slices.Contains(bondModes, o) { // the mode alone
			key, value = "mode", o
		}
		// Several addresses have semicolons between, as commas part options.
		value = strings.ReplaceAll(value, ";", ",")
		if !slices.Contains(bondOptions, key) || value == "" || strings.ContainsAny(value, "\n/") {
			return nil, o, "OPTION=VALUE as the kernel's bonding.rst has them"
		}
		if key != "mode" {
			options = append(options, BondOption{key, value})
			continue
		}
		if n, err := strconv.Atoi(value); err == nil && isDigits(value) && n < len(bondModes) {
			value = bondModes[n]
		}
		if !slices.Contains(bondModes, value) {
			return nil, o, "one of the modes " + strings.Join(bondModes, ", ")
		}
		mode.Value = value
	}
	return append([]BondOption{mode}, options...), "", ""
}

// wantMTU is what parseMTU expects.
const wantMTU = "a number from 68 to 65535"

// parseMTU reads an MTU; empty is none.
func parseMTU(s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 68 && n <= 65535
}

// same reports whether two bond= say the same.
func (b Bond) same(o Bond) bool { return reflect.DeepEqual(b, o) }
