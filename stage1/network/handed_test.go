package network

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"netstage/netup/ipparam"
)

// As ip --json of iproute2 6.1 writes it.
const (
	handedAddrs = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"link_type":"loopback","address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
{"ifindex":2,"ifname":"eth0","link_type":"ether","address":"52:54:00:AB:cd:ef","addr_info":[
 {"family":"inet","local":"192.0.2.10","prefixlen":32,"scope":"global","dynamic":true,"valid_life_time":86000},
 {"family":"inet6","local":"2001:db8::10","prefixlen":64,"scope":"global","valid_life_time":4294967295},
 {"family":"inet6","local":"2001:db8::1234","prefixlen":64,"scope":"global","temporary":true},
 {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
{"ifindex":3,"ifname":"wg0","link_type":"none","addr_info":[{"family":"inet","local":"198.51.100.1","prefixlen":24,"scope":"global"}]},
{"ifindex":4,"ifname":"eth1","link_type":"ether","address":"52:54:00:00:00:02","addr_info":[]}]`
	handedV4 = `[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":["onlink"]},{"dst":"198.51.100.0/24","gateway":"192.0.2.2","dev":"eth0"},
{"dst":"203.0.113.7","gateway":"192.0.2.2","dev":"eth0","flags":[]},{"dst":"192.0.2.0/24","dev":"eth0","protocol":"kernel","scope":"link"}]`
	handedV6 = `[{"dst":"default","gateway":"fe80::1","dev":"eth0"},{"dst":"2001:db8::/64","dev":"eth0","protocol":"kernel"}]`
)

func TestHandedNetwork(t *testing.T) {
	const link = "enx525400abcdef"
	entry := func(addr, gateway string) ipparam.Entry {
		return ipparam.Entry{Text: "handed in", Link: link, Method: ipparam.Static, Addr: netip.MustParsePrefix(addr), Gateway: netip.MustParseAddr(gateway)}
	}
	want := handed{
		Entries: []ipparam.Entry{entry("192.0.2.10/32", "192.0.2.1"), entry("2001:db8::10/64", "fe80::1")},
		Routes: []ipparam.Route{
			{Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.0.2.2"), Link: link},
			{Dst: netip.MustParsePrefix("203.0.113.7/32"), Gateway: netip.MustParseAddr("192.0.2.2"), Link: link},
		},
	}
	got, err := parseHanded([]byte(handedAddrs), []byte(handedV4), []byte(handedV6))
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if got, err := parseHanded([]byte(handedAddrs), nil, nil); err != nil || len(got.Entries) != 2 || got.Entries[0].Gateway.IsValid() {
		t.Errorf("without routes: %+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", "[{"} {
		if _, err := parseHanded([]byte(text), nil, nil); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzHandedNetwork(f *testing.F) {
	f.Add([]byte(handedAddrs), []byte(handedV4))
	f.Add([]byte(handedAddrs), []byte(handedV6))
	f.Fuzz(func(t *testing.T, addresses, routes []byte) {
		h, _ := parseHanded(addresses, routes, nil)
		for _, e := range h.Entries {
			if e.Method == ipparam.Static && (!e.Addr.IsValid() || !usable(e.Addr.Addr()) || e.Gateway.IsValid() && e.Gateway.Is4() != e.Addr.Addr().Is4()) {
				t.Errorf("%+v", e)
			}
		}
		for _, r := range h.Routes {
			if !r.Dst.IsValid() || !r.Gateway.IsValid() || r.Dst.Bits() == 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}
