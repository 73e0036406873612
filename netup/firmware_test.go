package netup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/netup/internal/plan"
	"netstage/netup/ipparam"
)

// firmwareSays makes a sysfs whose iBFT has one card.
func firmwareSays(t testing.TB, mac string, files ...string) string {
	t.Helper()
	sysfs := t.TempDir()
	if err := os.Symlink("/sys/class", sysfs+"/class"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(sysfs, "firmware/ibft/ethernet0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "mac="+mac) {
		name, text, _ := strings.Cut(file, "=")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sysfs
}

// The addresses that the firmware booted with are used as they are, on the
// card it booted from.
func TestFirmwareTable(t *testing.T) {
	static := []string{"flags=3", "ip-addr=10.2.0.9", "prefix-len=24", "gateway=10.2.0.1", "primary-dns=10.2.0.3", "origin=1"}
	for name, test := range map[string]struct {
		p     ipparam.Params
		files []string
		want  string
	}{
		"asked for":                   {ipparam.Params{IP: []string{"ibft"}}, static, "eth1 10.2.0.9/24 via 10.2.0.1, dns 10.2.0.3"},
		"by dracut's other name":      {ipparam.Params{IBFT: []string{"1"}}, static, "eth1 10.2.0.9/24 via 10.2.0.1, dns 10.2.0.3"},
		"by itself":                   {ipparam.Params{}, static, "eth1 10.2.0.9/24 via 10.2.0.1, dns 10.2.0.3"},
		"DHCP":                        {ipparam.Params{IP: []string{"ibft"}}, []string{"flags=3", "dhcp=10.2.0.1", "ip-addr=10.2.0.8", "prefix-len=24"}, "eth1 10.2.0.50/24 via 10.2.0.1, from 10.2.0.1"},
		"not booted from":             {ipparam.Params{}, append([]string{"flags=1"}, static[1:]...), "eth1 10.2.0.50/24 via 10.2.0.1, from 10.2.0.1"},
		"forbidden":                   {ipparam.Params{IBFT: []string{"0"}}, static, "eth1 10.2.0.50/24 via 10.2.0.1, from 10.2.0.1"},
		"the operator says otherwise": {ipparam.Params{IP: []string{"10.2.0.7:::24::eth1:none"}}, static, "eth1 10.2.0.7/24 (no route off the link)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.cable(t, "eth0", "") // nobody answers there
			p.cable(t, "eth1", "10.2.0.1/24")
			p.dnsmasq(t, "--port=0", "--dhcp-range=10.2.0.50,10.2.0.50,1h", "--interface=eth1p")
			l := up(t, Options{Config: config(t, test.p), Sysfs: firmwareSays(t, macOf(t, "eth1").String(), test.files...)}).Lease()
			if got := l.Link + " " + l.String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// Nothing is known of the card that the machine has: DHCP, with a word of it.
func TestFirmwareTableIsMissing(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.2.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.2.0.50,10.2.0.50,1h")
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"ibft"}})})
	if l := s.wait(t).Lease(); l.Addr.String() != "10.2.0.50/24" || !strings.Contains(s.log.String(), "the firmware has no iBFT") {
		t.Errorf("%s\n%s", l, s.log)
	}
}

// A table whose frames have a tag becomes a VLAN of its card.
func TestFirmwareTag(t *testing.T) {
	log, _ := logTo(t)
	p := plan.Plan{Config: config(t, ipparam.Params{IP: []string{"ibft"}})}
	p.ApplyIBFT(log, firmwareSays(t, "52:54:00:12:34:56", "flags=3", "ip-addr=10.2.0.9", "prefix-len=24", "vlan=7"))
	if len(p.VLANs) != 1 || p.VLANs[0] != (ipparam.VLAN{Name: "vlan7", ID: 7, Parent: "enx525400123456"}) {
		t.Errorf("%+v", p.VLANs)
	}
	if len(p.Entries) != 1 || p.Entries[0].Link != "vlan7" || p.Entries[0].Addr.String() != "10.2.0.9/24" {
		t.Errorf("%+v", p.Entries)
	}
}
