package dhcp6

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"netstage/netup/lease"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// What is written, another implementation reads.
func TestQuery(t *testing.T) {
	q := Query{
		Type: Request, XID: 0x123456, Client: DUID(mac), Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, Elapsed: 1234 * time.Millisecond, Rapid: true,
		Address: true, IAID: IAID(mac), Addr: netip.MustParseAddr("2001:db8::5"), UserClass: "rack-7", Host: "node7",
	}
	m, err := dhcpv6.MessageFromBytes(q.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	o := m.Options
	if m.MessageType != dhcpv6.MessageTypeRequest || m.TransactionID != (dhcpv6.TransactionID{0x12, 0x34, 0x56}) ||
		o.ElapsedTime() != 1230*time.Millisecond || m.GetOneOption(dhcpv6.OptionRapidCommit) == nil {
		t.Errorf("%s", m.Summary())
	}
	if duid, ok := o.ClientID().(*dhcpv6.DUIDLL); !ok || duid.HWType != iana.HWTypeEthernet || !bytes.Equal(duid.LinkLayerAddr, mac) {
		t.Errorf("client id %v", o.ClientID())
	}
	if o.ServerID() == nil || o.ServerID().String() != "DUID-LL{HWType=Ethernet HWAddr=02:00:00:00:00:01}" {
		t.Errorf("server id %v", o.ServerID())
	}
	ia := o.OneIANA()
	if ia == nil || ia.IaId != [4]byte{0, 0x12, 0x34, 0x56} || !ia.Options.OneAddress().IPv6Addr.Equal(net.ParseIP("2001:db8::5")) {
		t.Errorf("IA_NA %v", ia)
	}
	for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionBootfileURL, dhcpv6.OptionNTPServer} {
		if !slices.Contains(o.RequestedOptions(), code) {
			t.Errorf("%s is not asked for", code)
		}
	}
	if c := o.UserClasses(); len(c) != 1 || string(c[0]) != "rack-7" {
		t.Errorf("user class %q", c)
	}
	if f := o.FQDN(); f == nil || f.DomainName.Labels[0] != "node7" {
		t.Errorf("host name %v", f)
	}
}

func message(t dhcpv6.MessageType, mods ...dhcpv6.Modifier) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: t, TransactionID: dhcpv6.TransactionID{0, 0, 7}}
	for _, f := range append([]dhcpv6.Modifier{
		dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac}),
		dhcpv6.WithServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}),
	}, mods...) {
		f(m)
	}
	return m
}

// address is an IA_NA with one address.
func address(addr string, preferred, valid, t1, t2 time.Duration, more ...dhcpv6.Option) dhcpv6.Modifier {
	ia := &dhcpv6.OptIANA{IaId: [4]byte{0, 0x12, 0x34, 0x56}, T1: t1, T2: t2}
	a := &dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(addr), PreferredLifetime: preferred, ValidLifetime: valid}
	a.Options.Options = more
	ia.Options.Add(a)
	return dhcpv6.WithOption(ia)
}

func whole() *dhcpv6.Message {
	return message(dhcpv6.MessageTypeReply, address("2001:db8::5", time.Hour, 2*time.Hour, 0, 0),
		dhcpv6.WithDNS(net.ParseIP("2001:db8::3"), net.ParseIP("2001:db8::4")),
		dhcpv6.WithDomainSearchList("a.example", "b.example"),
		dhcpv6.WithOption(dhcpv6.OptBootFileURL("http://[2001:db8::2]/boot.ipxe")),
		dhcpv6.WithOption(dhcpv6.OptBootFileParam("quiet", "console=ttyS0")),
		dhcpv6.WithOption(&dhcpv6.OptNTPServer{Suboptions: dhcpv6.Options{ntpAddr("2001:db8::7")}}),
		dhcpv6.WithOption(&dhcpv6.OptFQDN{DomainName: &rfc1035label.Labels{Labels: []string{"node7.a.example"}}}))
}

func ntpAddr(s string) dhcpv6.Option {
	a := dhcpv6.NTPSuboptionSrvAddr(net.ParseIP(s))
	return &a
}

// What another implementation writes is read.
func TestReply(t *testing.T) {
	r, err := Parse(whole().ToBytes(), IAID(mac))
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddr
	want := Reply{
		Type: ReplyType, XID: 7, Client: DUID(mac), Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1},
		Addr: ap("2001:db8::5"), Valid: 2 * time.Hour, T1: 30 * time.Minute, T2: 48 * time.Minute,
		DNS: []netip.Addr{ap("2001:db8::3"), ap("2001:db8::4")}, Search: []string{"a.example", "b.example"}, NTP: []netip.Addr{ap("2001:db8::7")},
		Host: "node7", BootFile: "http://[2001:db8::2]/boot.ipxe", BootParams: []string{"quiet", "console=ttyS0"},
	}
	if d := cmp.Diff(want, r, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestAddresses(t *testing.T) {
	const hour = time.Hour
	refused := &dhcpv6.OptStatusCode{StatusCode: iana.StatusNotOnLink, StatusMessage: "elsewhere"}
	for _, c := range []struct {
		name    string
		message *dhcpv6.Message
		want    func(Reply) bool
	}{
		{"endless", message(dhcpv6.MessageTypeReply, address("2001:db8::5", forever*time.Second, forever*time.Second, 0, 0)),
			func(r Reply) bool { return r.Addr.IsValid() && r.Valid == 0 }},
		{"T1 after T2", message(dhcpv6.MessageTypeReply, address("2001:db8::5", hour, hour, 50*time.Minute, 40*time.Minute)),
			func(r Reply) bool { return r.T1 == 30*time.Minute && r.T2 == 40*time.Minute }},
		{"T2 after the end", message(dhcpv6.MessageTypeReply, address("2001:db8::5", hour, hour, 0, 2*hour)),
			func(r Reply) bool { return r.T2 == 48*time.Minute }},
		{"preferred longer than valid", message(dhcpv6.MessageTypeReply, address("2001:db8::5", 2*hour, hour, 0, 0)), func(r Reply) bool { return !r.Addr.IsValid() }},
		{"no life left", message(dhcpv6.MessageTypeReply, address("2001:db8::5", 0, 0, 0, 0)), func(r Reply) bool { return !r.Addr.IsValid() }},
		{"link-local", message(dhcpv6.MessageTypeReply, address("fe80::5", hour, hour, 0, 0)), func(r Reply) bool { return !r.Addr.IsValid() }},
		{"refused", message(dhcpv6.MessageTypeReply, address("2001:db8::5", hour, hour, 0, 0, refused)),
			func(r Reply) bool { return !r.Addr.IsValid() && r.Status.Error() == "NotOnLink: elsewhere" }},
		{"the second one lives", message(dhcpv6.MessageTypeReply, address("2001:db8::5", 0, 0, 0, 0), address("2001:db8::6", hour, hour, 0, 0)),
			func(r Reply) bool { return r.Addr == netip.MustParseAddr("2001:db8::6") }},
		{"nothing to give", message(dhcpv6.MessageTypeAdvertise, dhcpv6.WithOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail, StatusMessage: "full\x1b[2J"})),
			func(r Reply) bool {
				var s *StatusError
				return errors.As(r.Status, &s) && s.Code == NoAddrsAvail && s.Error() == "NoAddrsAvail: full [2J"
			}},
	} {
		r, err := Parse(c.message.ToBytes(), IAID(mac))
		if err != nil || !c.want(r) {
			t.Errorf("%s: %v %+v", c.name, err, r)
		}
	}
	if r, err := Parse(whole().ToBytes(), 1); err != nil || r.Addr.IsValid() {
		t.Errorf("an address for another IAID: %v %+v", err, r)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "a client's": Query{Type: Solicit}.Bytes(), "cut short": whole().ToBytes()[:20], "half an option": {7, 0, 0, 1, 0, 1},
	} {
		if _, err := Parse(b, 0); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole().ToBytes())
	f.Add(message(dhcpv6.MessageTypeAdvertise, address("2001:db8::5", time.Hour, time.Hour, 0, 0,
		&dhcpv6.OptStatusCode{StatusCode: iana.StatusSuccess})).ToBytes())
	b, _ := hex.DecodeString("07000001000d00020002001800050361036200c000")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b, IAID(mac))
		if err != nil {
			return
		}
		if r.Addr.IsValid() && !Usable(r.Addr) {
			t.Errorf("address %s", r.Addr)
		}
		if r.T1 > r.T2 || r.T2 > r.Valid || r.Valid != 0 && !r.Addr.IsValid() {
			t.Errorf("times %v %v %v", r.T1, r.T2, r.Valid)
		}
		for _, n := range []int{len(r.DNS), len(r.Search), len(r.NTP), len(r.BootParams)} {
			if n > lease.MaxListed {
				t.Errorf("%d in a list", n)
			}
		}
		if r.Status != nil && bytes.ContainsAny([]byte(r.Status.Error()), "\x00\n\x1b") {
			t.Errorf("status %q", r.Status)
		}
		// What the other implementation reads it must not read otherwise.
		m, err := dhcpv6.MessageFromBytes(b)
		if err == nil && r.BootFile != "" && len(m.Options.Get(dhcpv6.OptionBootfileURL)) == 1 && m.Options.BootFileURL() != r.BootFile {
			t.Errorf("boot file %q, %q", r.BootFile, m.Options.BootFileURL())
		}
	})
}

// Zero bytes behind a message are nothing, and what is whole before a cut is
// used.
func TestPaddedAndCut(t *testing.T) {
	b := whole().ToBytes()
	want, err := Parse(b, IAID(mac))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 12; n++ {
		r, err := Parse(append(slices.Clone(b), make([]byte, n)...), IAID(mac))
		if err != nil || r.Addr != want.Addr || len(r.DNS) != len(want.DNS) || r.PassedOver != "" {
			t.Errorf("%d zeros: %v %+v", n, err, r)
		}
	}
	r, err := Parse(append(slices.Clone(b), 0, 23, 0, 16, 1), IAID(mac))
	if err != nil || r.Addr != want.Addr || r.PassedOver == "" {
		t.Errorf("cut short: %v %+v", err, r)
	}
}
