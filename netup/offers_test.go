package netup

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"netstage/netup/ipparam"
)

// later answers as polite does, a little later than another server.
func later(addr string) func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
	return func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if m.MessageType() == dhcpv4.MessageTypeRequest && !m.ServerIdentifier().Equal(net.IP(f.server.AsSlice())) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
		return f.polite(m, addr)
	}
}

// The faster one of two servers offers an address and does not keep to it: the
// other one's is taken.
func TestOfferThatBecomesNoLease(t *testing.T) {
	for name, request := range map[string]func(f *fakeDHCP, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4{
		"refused": func(f *fakeDHCP, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			return f.reply(m, dhcpv4.MessageTypeNak, "")
		},
		"not answered": func(*fakeDHCP, *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := site(t)
			bad.fakeDHCP(t, "br0", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
				switch {
				case m.MessageType() == dhcpv4.MessageTypeDiscover:
					return f.polite(m, "10.1.0.66")
				case !m.ServerIdentifier().Equal(net.IP(f.server.AsSlice())):
					return nil
				}
				if r := request(f, m); r != nil {
					return []*dhcpv4.DHCPv4{r}
				}
				return nil
			})
			good.fakeDHCP(t, "nic", "10.1.0.2", later("10.1.0.77"))
			n := up(t, Options{Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
			if l := n.Lease(); l.Addr.String() != "10.1.0.77/24" {
				t.Errorf("lease %s", l)
			}
		})
	}
}

// Likewise of DHCPv6.
func TestOfferThatBecomesNoLease6(t *testing.T) {
	bad, good := site(t)
	bad.routerAddrs(t, "br0", "fe80::1/64")
	good.routerAddrs(t, "nic", "fe80::2/64")
	bad.fakeDHCP6(t, "br0", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		switch {
		case m.MessageType == dhcpv6.MessageTypeSolicit:
			return f.polite(m, "2001:db8::66", time.Hour)
		case !bytes.Equal(m.Options.ServerID().ToBytes(), f.duid.ToBytes()):
			return nil
		}
		return f.reply(m, dhcpv6.MessageTypeReply, "", 0, &dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
	})
	good.fakeDHCP6(t, "nic", func(f *fakeDHCP6, m *dhcpv6.Message) *dhcpv6.Message {
		f.duid = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
		if m.MessageType == dhcpv6.MessageTypeRequest && !bytes.Equal(m.Options.ServerID().ToBytes(), f.duid.ToBytes()) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
		return f.polite(m, "2001:db8::77", time.Hour)
	})
	n := up(t, auto(t, "dhcp6"))
	if l := n.Lease(); l.Addr.Addr().String() != "2001:db8::77" {
		t.Errorf("lease %s", l)
	}
}

// What servers say of routes, masks and times that makes no sense as it stands
// costs nothing else.
func TestOddOptions(t *testing.T) {
	const onLink, byRouter = "10.1.0.0/24 on the link", "default via 10.1.0.1"
	for name, o := range map[string]struct {
		addr   string // 10.1.0.50/24 unless said otherwise
		code   uint8
		value  []byte
		routes []string // onLink and byRouter unless said otherwise
	}{
		"router is the client":               {code: 3, value: []byte{10, 1, 0, 50, 10, 1, 0, 1}},
		"router is nobody":                   {code: 3, value: []byte{0, 0, 0, 0, 10, 1, 0, 1}},
		"its own subnet by a router":         {code: 121, value: []byte{24, 10, 1, 0, 10, 1, 0, 1, 0, 10, 1, 0, 1}},
		"the client is the first router":     {code: 121, value: []byte{0, 10, 1, 0, 50, 0, 10, 1, 0, 1}},
		"all the world on the link":          {code: 121, value: []byte{0, 0, 0, 0, 0}, routes: []string{onLink, "default on the link"}},
		"router on the link of a /32":        {addr: "10.1.0.50/32", code: 1, value: []byte{255, 255, 255, 255}, routes: []string{"10.1.0.1/32 on the link", byRouter}},
		"two hosts on the link":              {addr: "10.1.0.0/31", code: 1, value: []byte{255, 255, 255, 254}, routes: []string{"10.1.0.0/31 on the link", byRouter}},
		"mask with a hole, the class's then": {addr: "10.1.0.50/8", code: 1, value: []byte{255, 0, 255, 0}, routes: []string{"10.0.0.0/8 on the link", byRouter}},
		"mtu of 68":                          {code: 26, value: []byte{0, 68}},
		"lease of one second":                {code: 51, value: []byte{0, 0, 0, 1}},
		"lease of 136 years":                 {code: 51, value: []byte{255, 255, 255, 254}},
		"search list without an end":         {code: 119, value: []byte{1, 'a', 0xc0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.cable(t, "eth0", "10.1.0.1/24")
			want := append([]string(nil), o.routes...)
			if o.addr == "" {
				o.addr = "10.1.0.50/24"
			}
			if want == nil {
				want = []string{onLink, byRouter}
			}
			p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
				ip, _, _ := net.ParseCIDR(o.addr)
				return f.polite(m, ip.String(), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(o.code), o.value))
			})
			n := up(t, Options{Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
			got := routesOf(t, "eth0")
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" || n.Lease().Addr.String() != o.addr || !n.Lease().OffLink() || mtuOf(t, "eth0") != 1500 {
				t.Errorf("lease %s, mtu %d, routes %s", n.Lease(), mtuOf(t, "eth0"), d)
			}
		})
	}
}
