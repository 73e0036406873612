package netup

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/netup/ipparam"
)

// A VLAN on a bond of two cards, in networkd's words.
func TestKeptStack(t *testing.T) {
	k := Kept{
		Link: "vlan5", Kind: "vlan", MAC: "52:54:00:00:00:01", Source: "dhcp", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/24")},
		Stack: []KeptDevice{
			{Name: "vlan5", Kind: "vlan", MAC: "52:54:00:00:00:01", Tag: 5, Over: []string{"bond0"}},
			{Name: "bond0", Kind: "bond", MAC: "52:54:00:00:00:01", MTU: 9000, Over: []string{"eth0", "eth1"}, Options: map[string]string{
				"mode": "active-backup", "miimon": "50", "primary": "eth1", "arp_ip_target": "10.0.0.1,10.0.0.2", "use_carrier": "1"}},
			{Name: "eth0", MAC: "52:54:00:00:00:01"},
			{Name: "eth1", MAC: "52:54:00:00:00:02"},
		},
	}
	files := k.NetworkdFiles()
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

// The lease goes on under the identity that it was given to, and the operator's
// route with it.
func TestKeptIdentityAndRoute(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-host=id:ff:00:00:00:07:00:02:00:00:ab:11,10.1.0.55")
	n := up(t, Options{Config: config(t, ipparam.Params{
		IP: []string{"dhcp,255,\x00\x00\x00\x07\x00\x02\x00\x00\xab\x11"}, Route: []string{"192.168.8.0/24:10.1.0.2"},
	})})
	text := string(n.Kept().Networkd())
	for _, want := range []string{"ClientIdentifier=duid\nIAID=7\nDUIDType=2\nDUIDRawData=00:00:ab:11\n", "[Route]\nDestination=192.168.8.0/24\nGateway=10.1.0.2\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Destination=0.0.0.0/0") || n.Lease().Addr.String() != "10.1.0.55/24" {
		t.Errorf("%s\n%s", n.Lease(), text)
	}
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	for id, want := range map[string]string{"": "ClientIdentifier=mac", "\x01RT\x00\x00\x00\x01": "ClientIdentifier=mac", "\x00node-7": "# The lease was given to the client 006e6f64652d37, which networkd can't say.\nClientIdentifier=mac"} {
		if got := strings.Join(clientID([]byte(id), mac), "\n"); got != want {
			t.Errorf("%q: %s", id, got)
		}
	}
}
