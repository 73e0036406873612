package linktable

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rows = []Row{
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
	veth := []Row{{Name: "eth0", MAC: "52:54:00:00:00:01", Driver: "veth", Carrier: true, Winner: true,
		V4: FamilyState{State: Bound, Address: "10.1.0.9/24", Seconds: 2}}}
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
		l := Row{Name: name, MAC: "52:54:00:00:00:01", Driver: driver, Fault: fault, Carrier: true,
			V6: FamilyState{Address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128", State: "renewing", Tries: 2}}
		for _, line := range Table([]Row{l, rows[0], rows[2]}, width) {
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

func TestSummary(t *testing.T) {
	want := "usb0: 169.254.3.2/16, proving the path (3 tries), 9 s; " + rows[2].Fault + " | eth1: discovering (5 tries), 11 s | no carrier on eth0"
	if got := Summary(rows); got != want {
		t.Error(got)
	}
	if got := Summary(nil); got != "no network card" {
		t.Error(got)
	}
}

// A link that was used and lost what it had is named while a download waits.
func TestTrouble(t *testing.T) {
	other := Row{Name: "eth1", Carrier: true, V4: FamilyState{Address: "10.0.0.9/24", State: Bound}}
	for want, row := range map[string]Row{
		"":                         {Name: "eth0", Winner: true, Carrier: true, V6: FamilyState{Address: "2001:db8::9/64", State: Bound}},
		"eth0: no carrier, 7 s":    {Name: "eth0", Winner: true, Seconds: 7, Fault: "the carrier was lost"},
		"the network card is gone": {Name: "eth2"},
		"eth0: the lease was lost, discovering (3 tries), 5 s": {Name: "eth0", Winner: true, Carrier: true, Fault: "the lease was lost",
			V4: FamilyState{State: "discovering", Tries: 3, Seconds: 5}},
	} {
		if got := Trouble([]Row{other, row}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
