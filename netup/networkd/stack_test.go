package networkd

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A VLAN on a bond of two cards, in networkd's words.
func TestStack(t *testing.T) {
	k := State{
		Link: "vlan5", Kind: "vlan", MAC: "52:54:00:00:00:01", Source: "dhcp", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")},
		Stack: []Device{
			{Name: "vlan5", Kind: "vlan", MAC: "52:54:00:00:00:01", Tag: 5, Over: []string{"bond0"}},
			{Name: "bond0", Kind: "bond", MAC: "52:54:00:00:00:01", MTU: 9000, Over: []string{"eth0", "eth1"}, Options: map[string]string{
				"mode": "active-backup", "miimon": "50", "primary": "eth1", "arp_ip_target": "10.0.0.1,10.0.0.2", "use_carrier": "1"}},
			{Name: "eth0", MAC: "52:54:00:00:00:01"},
			{Name: "eth1", MAC: "52:54:00:00:00:02"},
		},
	}
	files := k.Files()
	want := map[string]string{
		"70-netstage-vlan5.netdev": "# Made by stage 1, and kept by boot.network=keep.\n[NetDev]\nName=vlan5\nKind=vlan\n\n[VLAN]\nId=5\n",
		"70-netstage-bond0.netdev": "# Made by stage 1, and kept by boot.network=keep.\n[NetDev]\nName=bond0\nKind=bond\nMTUBytes=9000\nMACAddress=52:54:00:00:00:01\n\n" +
			"[Bond]\nARPIPTargets=10.0.0.1 10.0.0.2\nMIIMonitorSec=50ms\nMode=active-backup\n",
		"70-netstage-bond0.network": "# Carries what boot.network=keep keeps.\n[Match]\nName=bond0\n\n[Network]\nKeepConfiguration=yes\nLinkLocalAddressing=no\nVLAN=vlan5\n",
		"70-netstage-eth0.network":  "# Carries what boot.network=keep keeps.\n[Match]\nPermanentMACAddress=52:54:00:00:00:01\n\n[Network]\nKeepConfiguration=yes\nLinkLocalAddressing=no\nBond=bond0\n",
		"70-netstage-eth1.network":  "# Carries what boot.network=keep keeps.\n[Match]\nPermanentMACAddress=52:54:00:00:00:02\n\n[Network]\nKeepConfiguration=yes\nLinkLocalAddressing=no\nBond=bond0\nPrimarySlave=yes\n",
	}
	for name, text := range want {
		if d := cmp.Diff(text, string(files[name])); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if !strings.Contains(string(files["70-netstage.network"]), "[Match]\nName=vlan5\n") || len(files) != len(want)+1 {
		t.Errorf("%v", slices.Sorted(maps.Keys(files)))
	}
}

func TestClientIdentifier(t *testing.T) {
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	for id, want := range map[string]string{"": "ClientIdentifier=mac", "\x01RT\x00\x00\x00\x01": "ClientIdentifier=mac", "\x00node-7": "# The lease was given to the client 006e6f64652d37, which networkd can't say.\nClientIdentifier=mac"} {
		if got := strings.Join(clientID([]byte(id), mac), "\n"); got != want {
			t.Errorf("%q: %s", id, got)
		}
	}
}

// An address by router advertisement keeps its interface identifier.
func TestAdvertisement(t *testing.T) {
	k := State{Source: "ra", Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::5054:ff:fe12:3456/64")}, Lease: int(time.Hour / time.Second)}
	text := string(k.Network())
	if !strings.Contains(text, "IPv6AcceptRA=yes\n") || !strings.Contains(text, "Token=eui64\n") || strings.Contains(text, "\nAddress=") {
		t.Error(text)
	}
}
