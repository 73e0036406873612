package netup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

var rows = []LinkState{
	{Name: "eth0", MAC: "52:54:00:00:00:01", Driver: "igb", Bus: "pci", Device: "0000:01:00.0", ID: "8086:1533", Seconds: 12},
	{Name: "eth1", MAC: "52:54:00:00:00:02", Driver: "igb", Bus: "pci", Device: "0000:01:00.1", Carrier: true, Seconds: 12,
		V4: FamilyState{State: "discovering", Tries: 5, Seconds: 11}},
	{Name: "usb0", MAC: "52:54:00:00:00:03", Driver: "cdc_ether", Bus: "usb", Device: "1-1:1.0", Carrier: true, Seconds: 12,
		V4:    FamilyState{State: "proving the path", Tries: 3, Address: "169.254.3.2/16", Seconds: 9},
		Fault: "no path: dial tcp 192.0.2.1:80: connect: network is unreachable, after three tries of several seconds each, asked 10.1.0.1"},
}

func TestTable(t *testing.T) {
	want := []string{
		"usb0 52:54:00:00:00:03 cdc_ether 1-1:1.0",
		"     169.254.3.2/16, proving the path (3 tries), 9 s",
		"     no path: dial tcp 192.0.2.1:80: connect: network is unreachable, after",
		"     three tries of several seconds each, asked 10.1.0.1",
		"eth1 52:54:00:00:00:02 igb       0000:01:00.1 discovering (5 tries), 11 s",
		"eth0 52:54:00:00:00:01 igb       0000:01:00.0 no carrier, 12 s",
	}
	if d := cmp.Diff(want, Table(rows, 78)); d != "" {
		t.Error(d)
	}
	veth := []LinkState{{Name: "eth0", MAC: "52:54:00:00:00:01", Driver: "veth", Carrier: true, Winner: true,
		V4: FamilyState{State: bound, Address: "10.1.0.9/24", Seconds: 2}}}
	if d := cmp.Diff([]string{"eth0 52:54:00:00:00:01 veth 10.1.0.9/24, 2 s, used"}, Table(veth, 80)); d != "" {
		t.Error(d)
	}
}

// No width and no text breaks the table's promise.
func FuzzTable(f *testing.F) {
	f.Add("eth0", "igb", "no path: connection refused", 80)
	f.Add("a-name-of-15-ch", "averylongdrivername", strings.Repeat("x", 300), 20)
	f.Fuzz(func(t *testing.T, name, driver, fault string, width int) {
		width = min(max(width, 20), 500)
		l := LinkState{Name: name, MAC: "52:54:00:00:00:01", Driver: driver, Fault: fault, Carrier: true,
			V6: FamilyState{Address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128", State: "renewing", Tries: 2}}
		for _, line := range Table([]LinkState{l, rows[0], rows[2]}, width) {
			if len(line) > width {
				t.Errorf("%d columns of %d: %q", len(line), width, line)
			}
		}
	})
}

func TestLinkStateAsJSON(t *testing.T) {
	text, err := json.Marshal(rows[1])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"eth1","index":0,"mac":"52:54:00:00:00:02","driver":"igb","bus":"pci","device":"0000:01:00.1","carrier":true,` +
		`"operstate":"","seconds":12,"v4":{"state":"discovering","tries":5,"seconds":11},"v6":{"seconds":0},"winner":false,"lost":false}`
	if string(text) != want {
		t.Error(string(text))
	}
}

// A virtio card is found by the PCI card that carries it.
func TestPlaceOnTheBus(t *testing.T) {
	sys := t.TempDir()
	dir := func(p string) string {
		p = filepath.Join(sys, p)
		must(os.MkdirAll(p, 0o755))
		return p
	}
	for _, bus := range []string{"pci", "virtio", "usb"} {
		dir("bus/" + bus)
	}
	link := func(target, name string) { must(os.Symlink(filepath.Join(sys, target), name)) }
	card := dir("devices/pci0000:00/0000:00:03.0")
	link("bus/pci", card+"/subsystem")
	must(os.WriteFile(card+"/vendor", []byte("0x1af4\n"), 0o644))
	must(os.WriteFile(card+"/device", []byte("0x1000\n"), 0o644))
	link("bus/virtio", dir("devices/pci0000:00/0000:00:03.0/virtio0")+"/subsystem")
	link("bus/usb", dir("devices/usb1/1-1/1-1:1.0")+"/subsystem")
	link("devices/pci0000:00/0000:00:03.0/virtio0", dir("class/net/eth0")+"/device")
	link("devices/usb1/1-1/1-1:1.0", dir("class/net/usb0")+"/device")
	dir("class/net/veth0")
	for name, want := range map[string]busPlace{
		"eth0":  {"pci", "0000:00:03.0", "1af4:1000"},
		"usb0":  {"usb", "1-1:1.0", ""},
		"veth0": {},
	} {
		if got := busOf(name, sys); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSummary(t *testing.T) {
	want := "usb0: 169.254.3.2/16, proving the path (3 tries), 9 s; " + rows[2].Fault + " | eth1: discovering (5 tries), 11 s | no carrier on eth0"
	if got := Summary(rows); got != want {
		t.Error(got)
	}
	if got := Summary(nil); got != "no network card" {
		t.Error(got)
	}
}

// Whoever watches sees a link on its way, then the winner, then what changes
// while the network is up.
func TestWatch(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.unplug(t, "eth0")
	var mu sync.Mutex
	var row LinkState
	s := start(t, Options{Every: 2 * time.Millisecond, Watch: func(links []LinkState) {
		mu.Lock()
		defer mu.Unlock()
		if len(links) == 1 {
			row = links[0]
		}
	}})
	expect := func(what string, ok func(LinkState) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ok(row)
		})
	}
	expect("a link without carrier", func(l LinkState) bool { return l.Driver == "veth" && !l.Carrier && l.V4 == FamilyState{} })
	p.plug(t, "eth0")
	expect("DISCOVER", func(l LinkState) bool { return l.Carrier && l.V4.State == "discovering" && !l.Winner })
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	address := s.wait(t).Lease().Addr.String()
	expect("the winner", func(l LinkState) bool { return l.Winner && l.V4.State == bound && l.V4.Address == address })
	p.unplug(t, "eth0")
	expect("a lost carrier", func(l LinkState) bool { return !l.Carrier && l.Fault == "the carrier was lost" })
}

// After a failure the table goes on showing what the kernel sees.
func TestRefresh(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.cable(t, "eth1", "")
	rows, err := Refresh(nil, 0)
	if err != nil || len(rows) != 2 || rows[0].Name != "eth0" || rows[0].Driver != "veth" || rows[0].Carrier {
		t.Fatalf("%+v %v", rows, err)
	}
	rows[0].Fault, rows[0].V4.State, rows[1].Seconds = "no path: refused", "proving the path", 5
	must(withLink("eth0", func(l netlink.Link) error {
		a, _ := netlink.ParseAddr("10.1.0.9/24")
		return errors.Join(netlink.LinkSetUp(l), netlink.AddrAdd(l, a))
	}))
	p.cable(t, "usb0", "")
	rows, err = Refresh(rows, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if l := rows[0]; len(rows) != 3 || !l.Carrier || l.Seconds != 0 || l.V4 != (FamilyState{Address: "10.1.0.9/24"}) || l.Fault == "" {
		t.Errorf("%+v", rows)
	}
	if l := rows[1]; l.Name != "eth1" || l.Carrier || l.Seconds != 8 {
		t.Errorf("%+v", l)
	}
}
