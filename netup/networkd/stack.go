package networkd

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Device is a device that a kept link is stacked on, or the link itself
// where it is stacked.
type Device struct {
	Name string   `json:"name"`
	Kind string   `json:"kind,omitempty"` // vlan or bond; "" is a card
	MAC  string   `json:"mac"`            // a card's own, also while it is a slave
	Tag  int      `json:"tag,omitempty"`  // of a vlan
	Over []string `json:"over,omitempty"` // the devices beneath it
	// Options are a bond's, as the kernel's bonding.rst names them and with
	// the names of values, not their numbers.
	Options map[string]string `json:"options,omitempty"`
	MTU     int               `json:"mtu,omitempty"`
}

// networkdBond are systemd.netdev(5)'s names for a bond's options. Those that
// end in Sec are milliseconds with the kernel; the primary is the slave's.
var networkdBond = map[string]string{
	"mode": "Mode", "miimon": "MIIMonitorSec", "updelay": "UpDelaySec", "downdelay": "DownDelaySec",
	"arp_interval": "ARPIntervalSec", "arp_ip_target": "ARPIPTargets", "arp_validate": "ARPValidate", "arp_all_targets": "ARPAllTargets",
	"primary_reselect": "PrimaryReselectPolicy", "fail_over_mac": "FailOverMACPolicy", "lacp_rate": "LACPTransmitRate",
	"ad_select": "AdSelect", "min_links": "MinLinks", "xmit_hash_policy": "TransmitHashPolicy", "all_slaves_active": "AllSlavesActive",
	"num_grat_arp": "GratuitousARP", "resend_igmp": "ResendIGMP", "packets_per_slave": "PacketsPerSlave", "tlb_dynamic_lb": "DynamicTransmitLoadBalancing",
}

// Files are the files for /run/systemd/network by their names: Network
// as 70-netstage.network, and for a stacked link those that have networkd know
// what it is stacked on: a .netdev for each device made, a .network for what is
// beneath it, so that no default of the system's gives that an address.
func (k State) Files() map[string][]byte {
	files := map[string][]byte{"70-netstage.network": k.Network()}
	for _, d := range k.Stack {
		if d.Kind != "" {
			files["70-netstage-"+d.Name+".netdev"] = d.netdev()
		}
		if d.Name != k.Link {
			files["70-netstage-"+d.Name+".network"] = k.beneath(d)
		}
	}
	return files
}

func (d Device) netdev() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by stage 1, and kept by boot.network=keep.\n[NetDev]\nName=%s\nKind=%s\n", d.Name, d.Kind)
	if d.MTU != 0 {
		fmt.Fprintf(&b, "MTUBytes=%d\n", d.MTU)
	}
	if d.Kind == "vlan" {
		fmt.Fprintf(&b, "\n[VLAN]\nId=%d\n", d.Tag)
		return []byte(b.String())
	}
	fmt.Fprintf(&b, "MACAddress=%s\n\n[Bond]\n", d.MAC)
	for _, key := range bondKeys(d.Options) {
		name, value := networkdBond[key], d.Options[key]
		switch {
		case strings.HasSuffix(name, "Sec"):
			value += "ms"
		case name == "ARPIPTargets":
			value = strings.ReplaceAll(value, ",", " ")
		}
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	return []byte(b.String())
}

// bondKeys are those of a bond's options that networkd knows, in order.
func bondKeys(options map[string]string) []string {
	var keys []string
	for key := range options {
		if networkdBond[key] != "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// beneath is the systemd.network(5) file of a device that carries others.
func (k State) beneath(d Device) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Carries what boot.network=keep keeps.\n[Match]\n")
	if d.Kind == "" { // udev may rename it, and a bond gives it another address
		fmt.Fprintf(&b, "PermanentMACAddress=%s\n", d.MAC)
	} else {
		fmt.Fprintf(&b, "Name=%s\n", d.Name)
	}
	b.WriteString("\n[Network]\nKeepConfiguration=yes\nLinkLocalAddressing=no\n")
	for _, over := range k.Stack {
		if !slices.Contains(over.Over, d.Name) {
			continue
		}
		if over.Kind == "vlan" {
			fmt.Fprintf(&b, "VLAN=%s\n", over.Name)
			continue
		}
		fmt.Fprintf(&b, "Bond=%s\n", over.Name)
		if over.Options["primary"] == d.Name {
			b.WriteString("PrimarySlave=yes\n")
		}
	}
	return []byte(b.String())
}

// clientID is how systemd.network(5) is told of a DHCP client identifier. It
// can only have the MAC, and what is made of an IAID and a DUID (RFC 4361).
func clientID(id []byte, mac net.HardwareAddr) []string {
	switch {
	case len(id) == 0 || slices.Equal(id, append([]byte{1}, mac...)):
		return []string{"ClientIdentifier=mac"}
	case id[0] == 255 && len(id) > 7:
		var raw []string
		for _, c := range id[7:] {
			raw = append(raw, fmt.Sprintf("%02x", c))
		}
		return []string{"ClientIdentifier=duid", fmt.Sprintf("IAID=%d", uint32(id[1])<<24|uint32(id[2])<<16|uint32(id[3])<<8|uint32(id[4])),
			fmt.Sprintf("DUIDType=%d", uint16(id[5])<<8|uint16(id[6])), "DUIDRawData=" + strings.Join(raw, ":")}
	}
	return []string{fmt.Sprintf("# The lease was given to the client %x, which networkd can't say.", id), "ClientIdentifier=mac"}
}
