package ibft

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// table makes a sysfs with a table's cards, each by its files.
func table(t testing.TB, cards ...map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for i, files := range cards {
		nic := filepath.Join(dir, "firmware/ibft/ethernet"+string(rune('0'+i)))
		if err := os.MkdirAll(nic, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(nic, name), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// The files are as the kernel's drivers/firmware/iscsi_ibft.c prints them.
func TestRead(t *testing.T) {
	dir := table(t,
		map[string]string{"index": "0", "flags": "3", "mac": "52:54:00:12:34:56", "ip-addr": "10.0.2.15", "subnet-mask": "255.255.255.0", "prefix-len": "24",
			"gateway": "10.0.2.2", "primary-dns": "10.0.2.3", "secondary-dns": "0.0.0.0", "dhcp": "10.0.2.2", "origin": "3", "vlan": "0"},
		map[string]string{"flags": "1", "mac": "52:54:00:12:34:57", "ip-addr": "10.0.3.15", "subnet-mask": "255.255.254.0",
			"primary-dns": "10.0.3.3", "secondary-dns": "10.0.3.4", "dhcp": "0.0.0.0", "origin": "1", "vlan": "5", "hostname": "node7"},
		map[string]string{"mac": "52:54:00:12:34:58", "ip-addr": "2001:db8::5", "prefix-len": "64", "gateway": "2001:db8::1", "origin": "1"},
		map[string]string{"flags": "0", "mac": "52:54:00:12:34:59", "ip-addr": "10.0.2.16", "prefix-len": "24"},
		map[string]string{"flags": "3", "mac": "52:54:00:12:34:5a", "ip-addr": "0.0.0.0"},
	)
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, last} }
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	want := []NIC{
		{MAC: mac(0x56), DHCP: true, Selected: true, Addr: prefix("10.0.2.15/24"), Gateway: addr("10.0.2.2"), DNS: []netip.Addr{addr("10.0.2.3")}},
		{MAC: mac(0x57), Addr: prefix("10.0.3.15/23"), DNS: []netip.Addr{addr("10.0.3.3"), addr("10.0.3.4")}, VLAN: 5, Hostname: "node7"},
		{MAC: mac(0x58), Selected: true, Addr: prefix("2001:db8::5/64"), Gateway: addr("2001:db8::1")},
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	equal := []cmp.Option{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if d := cmp.Diff(want, got, equal...); d != "" {
		t.Error(d)
	}
	if nics, err := Read(t.TempDir()); len(nics) != 0 || err != nil {
		t.Errorf("without a table: %v, %v", nics, err)
	}
}

// What can't be understood is named and costs only its own card.
func TestMistakes(t *testing.T) {
	good := map[string]string{"mac": "52:54:00:12:34:56", "dhcp": "10.0.2.2"}
	for _, test := range []struct{ name, text, want string }{
		{"mac", "52:54", `mac "52:54"`}, {"ip-addr", "10.0.0", `ip-addr "10.0.0"`}, {"ip-addr", "10.0.2.15", "netmask"}, {"vlan", "5000", `vlan "5000"`},
		{"vlan", "x", `vlan "x"`}, {"gateway", "fe80::1%eth0", `gateway`}, {"subnet-mask", "255.0.255.0", "255.0.255.0"}, {"flags", "-1", "flags"},
	} {
		bad := map[string]string{"mac": "52:54:00:12:34:57", "dhcp": "10.0.2.2"}
		if test.name == "subnet-mask" {
			bad["ip-addr"] = "10.0.2.15"
		}
		bad[test.name] = test.text
		nics, err := Read(table(t, bad, good))
		if err == nil || !strings.Contains(err.Error(), "ethernet0: ") || !strings.Contains(err.Error(), test.want) || len(nics) != 1 {
			t.Errorf("%s %s: %v, %v", test.name, test.text, nics, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("3", "52:54:00:12:34:56", "10.0.2.15", "24", "10.0.2.2", "0")
	f.Add("", "52:54:00:12:34:56", "2001:db8::1", "129", "0.0.0.0", "5")
	f.Fuzz(func(t *testing.T, flags, mac, ip, bits, dhcp, vlan string) {
		nics, err := Read(table(t, map[string]string{"flags": flags, "mac": mac, "ip-addr": ip, "prefix-len": bits, "dhcp": dhcp, "vlan": vlan}))
		for _, n := range nics {
			if err != nil || len(n.MAC) != 6 || n.VLAN > 4094 || !n.DHCP && (!n.Addr.IsValid() || n.Addr.Bits() == 0) {
				t.Errorf("%+v, %v", n, err)
			}
		}
	})
}
