package netup

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/netup/ipparam"
	"netstage/netup/lease"
)

// What a lease taught reaches stage 2.
func TestKeptLease(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.50,1h", "--dhcp-option=option:dns-server,10.1.0.1",
		"--dhcp-option=option:domain-search,a.example", "--dhcp-option=option:mtu,1400", "--dhcp-boot=x.ipxe,,10.1.0.4")
	n := up(t, Options{})
	text, err := n.Networkd().JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	left := got["left_seconds"].(float64)
	if left > 3600 || left < 3000 {
		t.Errorf("%v s of 3600 are left", left)
	}
	delete(got, "left_seconds")
	mac := macOf(t, "eth0").String()
	want := map[string]any{
		"version": 1.0, "link": "eth0", "mac": mac, "driver": "veth", "source": "dhcp",
		"addresses": []any{"10.1.0.50/24"}, "routes": []any{map[string]any{"to": "0.0.0.0/0", "via": "10.1.0.1"}},
		"dns": []any{"10.1.0.1"}, "search": []any{"a.example"}, "mtu": 1400.0, "server": "10.1.0.1",
		"next_server": "10.1.0.4", "boot_file": "x.ipxe", "lease_seconds": 3600.0,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	networkd := string(n.Networkd().Network())
	for _, want := range []string{"MACAddress=" + mac, "KeepConfiguration=yes", "DHCP=ipv4", "ClientIdentifier=mac", "MTUBytes=1400", "DNS=10.1.0.1", "Domains=a.example"} {
		if !strings.Contains(networkd, want+"\n") {
			t.Errorf("no %s in\n%s", want, networkd)
		}
	}
	if strings.Contains(networkd, "Address=10.") || strings.Contains(networkd, "[Route]") {
		t.Errorf("a leased address is fixed for ever:\n%s", networkd)
	}
}

// Addresses that the operator gave are given again, of both families.
func TestKeptStaticAddresses(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	n := up(t, Options{Config: config(t, ipparam.Params{
		IP:         []string{"10.1.0.9::10.1.0.1:24::eth0:none", "[2001:db8::9]::[2001:db8::1]:64::eth0:none"},
		NameServer: []string{"10.1.0.2"}, Route: []string{"192.168.8.0/24::eth0"},
	}), Prove: func(_ context.Context, l lease.Lease) error {
		if l.Addr.Addr().Is6() {
			return errors.New("no path")
		}
		return nil
	}})
	want := `# The network that stage 1 brought up and boot.network=keep keeps.
[Match]
MACAddress=` + macOf(t, "eth0").String() + `
Type=!vlan bond bridge

[Network]
KeepConfiguration=yes
Address=10.1.0.9/24
Address=2001:db8::9/64
DNS=10.1.0.2

[Route]
Destination=0.0.0.0/0
Gateway=10.1.0.1
GatewayOnLink=yes

[Route]
Destination=192.168.8.0/24
Scope=link

[Route]
Destination=::/0
Gateway=2001:db8::1
GatewayOnLink=yes
`
	if d := cmp.Diff(want, string(n.Networkd().Network())); d != "" {
		t.Error(d)
	}
}
