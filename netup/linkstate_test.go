package netup

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/linktable"
)

// Whoever watches sees a link on its way, then the winner, then what changes
// while the network is up.
func TestWatch(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.unplug(t, "eth0")
	var mu sync.Mutex
	var row linktable.Row
	s := start(t, Options{Every: 2 * time.Millisecond, Watch: func(links []linktable.Row) {
		mu.Lock()
		defer mu.Unlock()
		if len(links) == 1 {
			row = links[0]
		}
	}})
	expect := func(what string, ok func(linktable.Row) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ok(row)
		})
	}
	expect("a link without carrier", func(l linktable.Row) bool { return l.Driver == "veth" && !l.Carrier && l.V4 == linktable.FamilyState{} })
	p.plug(t, "eth0")
	expect("DISCOVER", func(l linktable.Row) bool { return l.Carrier && l.V4.State == "discovering" && !l.Winner })
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	address := s.wait(t).Lease().Addr.String()
	expect("the winner", func(l linktable.Row) bool {
		return l.Winner && l.V4.State == linktable.Bound && l.V4.Address == address
	})
	p.unplug(t, "eth0")
	expect("a lost carrier", func(l linktable.Row) bool { return !l.Carrier && l.Fault == "the carrier was lost" })
}

// After a failure the table goes on showing what the kernel sees.
func TestRefresh(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.cable(t, "eth1", "")
	rows, err := linktable.Refresh(nil, 0)
	if err != nil || len(rows) != 2 || rows[0].Name != "eth0" || rows[0].Driver != "veth" || rows[0].Carrier {
		t.Fatalf("%+v %v", rows, err)
	}
	rows[0].Fault, rows[0].V4.State, rows[1].Seconds = "no path: refused", "proving the path", 5
	must(withLink("eth0", func(l netlink.Link) error {
		a, _ := netlink.ParseAddr("10.1.0.9/24")
		return errors.Join(netlink.LinkSetUp(l), netlink.AddrAdd(l, a))
	}))
	p.cable(t, "usb0", "")
	rows, err = linktable.Refresh(rows, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if l := rows[0]; len(rows) != 3 || !l.Carrier || l.Seconds != 0 || l.V4 != (linktable.FamilyState{Address: "10.1.0.9/24"}) || l.Fault == "" {
		t.Errorf("%+v", rows)
	}
	if l := rows[1]; l.Name != "eth1" || l.Carrier || l.Seconds != 8 {
		t.Errorf("%+v", l)
	}
}
