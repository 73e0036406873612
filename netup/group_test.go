package netup

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

// A link that has been given an IPv6 address hears who asks for it, at once:
// its first connection would else wait for a second.
func TestNewAddressIsHeardOf(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "")
	must(setUp("eth0"))
	log, _ := logTo(t)
	index := 0
	must(withLink("eth0", func(l netlink.Link) error { index = l.Attrs().Index; return nil }))
	eventually(t, "carrier", func() bool {
		text, _ := os.ReadFile("/sys/class/net/eth0/carrier")
		return string(text) == "1\n"
	})
	k := rtnl.Open(log).Link(index, log)
	heard := func(suffix int) bool {
		text, err := os.ReadFile("/proc/thread-self/net/igmp6")
		must(err)
		return strings.Contains(string(text), fmt.Sprintf("ff0200000000000000000001ff00%04x", suffix))
	}
	for i := 1; i <= 40; i++ {
		must(k.LinkLocal(netip.MustParsePrefix(fmt.Sprintf("fe80::%x/64", 2*i))))
		must(k.Configure(lease.Lease{Link: "eth0", Index: index, Addr: netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x/64", 2*i+1))}, 100, nil, nil))
		if !heard(2*i) || !heard(2*i+1) {
			t.Fatalf("address %d is there and its group is not joined", i)
		}
	}
}
