package ipparam

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var equal = []cmp.Option{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func TestIP(t *testing.T) {
	for in, want := range map[string]Entry{
		// The kernel's document.
		"":                   {Method: Off},
		"off":                {Method: Off},
		"none":               {Method: Off},
		"on":                 {Method: Any},
		"any":                {Method: Any},
		"dhcp":               {Method: DHCP},
		"both":               {Method: DHCP},
		"192.168.7.5":        {Method: Static, Addr: prefix("192.168.7.5/24")},
		"10.0.0.5::10.0.0.1": {Method: Static, Addr: prefix("10.0.0.5/8"), Gateway: addr("10.0.0.1")},
		"192.168.0.10:192.168.0.2:192.168.0.1:255.255.255.128:node7:eth0:off:192.168.0.3:192.168.0.4:192.168.0.5": {
			Method: Static, Addr: prefix("192.168.0.10/25"), Peer: addr("192.168.0.2"), Gateway: addr("192.168.0.1"), Hostname: "node7", Link: "eth0",
			DNS: []netip.Addr{addr("192.168.0.3"), addr("192.168.0.4")}, NTP: []netip.Addr{addr("192.168.0.5")}},
		":::::eth0:dhcp":          {Method: DHCP, Link: "eth0"},
		"::::::":                  {Method: Any},
		"::::node7:eth1:":         {Method: Any, Hostname: "node7", Link: "eth1"},
		":::::eth0:dhcp,1,0a0b0c": {Method: DHCP, Link: "eth0", ClientID: []byte{1, 10, 11, 12}},
		"dhcp,0,node-7":           {Method: DHCP, ClientID: []byte("\x00node-7")},
		"0.0.0.0::::node7::dhcp":  {Method: DHCP, Hostname: "node7"},
		":::::::10.0.0.3":         {Method: Any, DNS: []netip.Addr{addr("10.0.0.3")}},
		// Zeros are the kernel's empty fields; what is given goes before what
		// DHCP brings.
		"0.0.0.0:0.0.0.0:0.0.0.0:0.0.0.0:node7:eth0:dhcp": {Method: DHCP, Hostname: "node7", Link: "eth0"},
		"10.0.0.5::10.0.0.1:0.0.0.0::eth0:off":            {Method: Static, Addr: prefix("10.0.0.5/8"), Gateway: addr("10.0.0.1"), Link: "eth0"},
		":10.0.0.2:10.0.0.1:255.255.255.0::eth0:dhcp":     {Method: DHCP, Link: "eth0", Peer: addr("10.0.0.2"), Gateway: addr("10.0.0.1"), Bits: 24},
		"10.0.0.5:10.9.0.1/16::32::eth0:none":             {Method: Static, Addr: prefix("10.0.0.5/32"), Peer: addr("10.9.0.1"), PeerNet: prefix("10.9.0.0/16"), Link: "eth0"},
		"[fd00::5]:[fd00:1::1]/64::128::eth0:none":        {Method: Static, Addr: prefix("fd00::5/128"), Peer: addr("fd00:1::1"), PeerNet: prefix("fd00:1::/64"), Link: "eth0"},
		"[fd00::5]:[fd00:1::1/64]::128::eth0:none":        {Method: Static, Addr: prefix("fd00::5/128"), Peer: addr("fd00:1::1"), PeerNet: prefix("fd00:1::/64"), Link: "eth0"},
		"::::::ibft": {Method: IBFT},
		// dracut's.
		"dhcp6":                            {Method: DHCP6},
		"auto6":                            {Method: Auto6},
		"eth0:dhcp":                        {Method: DHCP, Link: "eth0"},
		"eth0:on:1400":                     {Method: Any, Link: "eth0", MTU: 1400},
		"eth0:dhcp:1400:52:54:00:12:34:56": {Method: DHCP, Link: "eth0", MTU: 1400, MAC: mac("52:54:00:12:34:56")},
		"eth0:dhcp::52:54:00:12:34:56":     {Method: DHCP, Link: "eth0", MAC: mac("52:54:00:12:34:56")},
		"eth0:auto6":                       {Method: Auto6, Link: "eth0"},
		"eth0:off":                         {Method: Off, Link: "eth0"},
		"ibft":                             {Method: IBFT},
		"10.0.0.5::10.0.0.1:24:node7:eth0:none:1400:52:54:00:12:34:56": {
			Method: Static, Addr: prefix("10.0.0.5/24"), Gateway: addr("10.0.0.1"), Hostname: "node7", Link: "eth0", MTU: 1400, MAC: mac("52:54:00:12:34:56")},
		"[2001:db8::5]::[2001:db8::1]:64:node7:eth0:none:[2001:db8::3]": {
			Method: Static, Addr: prefix("2001:db8::5/64"), Gateway: addr("2001:db8::1"), Hostname: "node7", Link: "eth0", DNS: []netip.Addr{addr("2001:db8::3")}},
		"[2001:db8::5]::::::none": {Method: Static, Addr: prefix("2001:db8::5/64")},
	} {
		want.Text = in
		c, err := Parse(Params{IP: []string{in}})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if d := cmp.Diff([]Entry{want}, c.Entries, equal...); d != "" {
			t.Errorf("ip=%s: %s", in, d)
		}
	}
}

// dracut's list of methods is one setting for each address family.
func TestTwoMethods(t *testing.T) {
	for in, want := range map[string][]Entry{
		"dhcp,dhcp6":                   {{Method: DHCP}, {Method: DHCP6}},
		"eth0:auto6,dhcp:1400":         {{Method: DHCP, Link: "eth0", MTU: 1400}, {Method: Auto6, Link: "eth0", MTU: 1400}},
		"::::node7:eth0:dhcp4,either6": {{Method: DHCP, Link: "eth0", Hostname: "node7"}, {Method: Auto6, Link: "eth0", Hostname: "node7"}},
	} {
		c, err := Parse(Params{IP: []string{in}})
		for i := range want {
			want[i].Text = in
		}
		if d := cmp.Diff(want, c.Entries, equal...); d != "" || err != nil {
			t.Errorf("ip=%s: %v %s", in, err, d)
		}
	}
}

// complaint is what every mistake looks like: the parameter as written, the
// field and what is in it, what was expected.
var complaint = regexp.MustCompile(`(?s)^(ip|BOOTIF|bootdev|nameserver|rd\.route|rd\.iscsi\.ibft|ifname|vlan|bond)=.*: ([a-z0-9-]+ ".*": )?expected .+$`)

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		p    Params
		want []string // parameter, field, what was expected
	}{
		{Params{IP: []string{"dhpc"}}, []string{"ip=dhpc", "dhcp6"}},
		{Params{IP: []string{"eth0:dhcp6,auto6"}}, []string{"ip=eth0:dhcp6,auto6", "autoconf", "two methods"}},
		{Params{IP: []string{"dhcp,off"}}, []string{"autoconf \"dhcp,off\"", "two methods"}},
		{Params{IP: []string{"dhcp,dhcp6", "auto6"}}, []string{"ip=auto6", "no second setting"}},
		{Params{IP: []string{"10.0.0.300"}}, []string{"ip=10.0.0.300", "an address"}},
		{Params{IP: []string{"10.0.0.5::10.0.0.1:255.0.255.0::eth0:off"}}, []string{"netmask \"255.0.255.0\"", "255.255.255.0"}},
		{Params{IP: []string{"10.0.0.5::10.0.0.1:33"}}, []string{"netmask \"33\""}},
		{Params{IP: []string{"10.0.0.5:::::eth0:dhcp"}}, []string{"client-ip \"10.0.0.5\"", "dhcp"}},
		{Params{IP: []string{":::::eth0:static"}}, []string{"client-ip", "static needs"}},
		{Params{IP: []string{"10.0.0.5::[2001:db8::1]:24"}}, []string{"gw-ip", "same family"}},
		{Params{IP: []string{"2001:db8::5::::64"}}, []string{"client-ip \"2001\"", "brackets"}},
		{Params{IP: []string{"[2001:db8::5"}}, []string{"every [ to have its ]"}},
		{Params{IP: []string{":::::averyveryverylongname:dhcp"}}, []string{"device", "15 characters"}},
		{Params{IP: []string{"10.0.0.5:::24:eth0:none"}}, []string{"device \"none\"", "one field later"}},
		{Params{IP: []string{"eth0:dhcp:9"}}, []string{"mtu \"9\"", "68"}},
		{Params{IP: []string{"eth0:dhcp:1400:52:54:00:12:34"}}, []string{"macaddr", "52:54:00:12:34:56"}},
		{Params{IP: []string{"eth0:dhcp:1400:53:54:00:12:34:56"}}, []string{"macaddr", "53:54"}},
		{Params{IP: []string{"::::no/de::dhcp"}}, []string{"hostname \"no/de\""}},
		{Params{IP: []string{"eth0:dhcp:10.0.0.1:10.0.0.2:10.0.0.3:10.0.0.4"}}, []string{"ten fields"}},
		{Params{IP: []string{"dhcp,999,x"}}, []string{"autoconf", "TYPE"}},
		{Params{IP: []string{"eth0:dhcp", "eth0:off"}}, []string{"no second setting for eth0", "ip=eth0:dhcp"}},
		{Params{IP: []string{"eth0:static"}}, []string{"client-ip", "static needs"}},
		{Params{IP: []string{":::33::eth0:dhcp"}}, []string{"netmask \"33\"", "255.255.255.0"}},
		{Params{IP: []string{":::24::eth0:auto6"}}, []string{"netmask \"24\"", "without a client-ip"}},
		{Params{IP: []string{"10.0.0.5:10.0.0.1/33::24::eth0:none"}}, []string{"server-ip \"10.0.0.1/33\"", "prefix length"}},
		{Params{IP: []string{"10.0.0.5:/24::24::eth0:none"}}, []string{"server-ip \"/24\""}},
		{Params{IP: []string{"10.0.0.5::10.0.0.256:24"}}, []string{"gw-ip \"10.0.0.256\"", "IPv4 address"}},
		{Params{IP: []string{"10.0.0.5::::::none:dns"}}, []string{"dns0-ip \"dns\"", "IPv4 address"}},
		{Params{IP: []string{"10.0.0.5::::::none:::ntp"}}, []string{"ntp0-ip \"ntp\""}},
		{Params{IP: []string{"127.0.0.1"}}, []string{"client-ip \"127.0.0.1\"", "a host can have"}},
		{Params{IP: []string{"10.0.0.5::::::magic"}}, []string{"autoconf \"magic\"", "dhcp6"}},
		{Params{BootDev: []string{"no/dev"}}, []string{"bootdev=no/dev", "device", "15 characters"}},
		{Params{IBFT: []string{"maybe"}}, []string{"rd.iscsi.ibft=maybe", "0 or 1"}},
		{Params{IfName: []string{"a b:52:54:00:12:34:56"}}, []string{"name \"a b\"", "15 characters"}},
		{Params{Route: []string{"10.0.0.0/8:gw"}}, []string{"gateway \"gw\"", "an address"}},
		{Params{Route: []string{"10.0.0.0/8:10.1.0.1:no/dev"}}, []string{"device \"no/dev\""}},
		{Params{Bond: []string{"b/d:eth0"}}, []string{"bondname \"b/d\""}},
		{Params{Bond: []string{"bond0:eth0:mode=1:1500:x"}}, []string{"NAME:SLAVES:OPTIONS:MTU"}},
		{Params{VLAN: []string{"eth0.5:eth0.5"}}, []string{"phydevice \"eth0.5\""}},
		{Params{BootIF: []string{"20-52-54-00-12-34-56"}}, []string{"BOOTIF=20-52", "01-52-54-00-12-34-56"}},
		{Params{NameServer: []string{"dns.example"}}, []string{"nameserver=dns.example", "IPv6 address"}},
		{Params{Route: []string{"10.0.0.0/33:10.1.0.1"}}, []string{"rd.route=", "network"}},
		{Params{Route: []string{"10.0.0.0/8"}}, []string{"NET/MASK:GATEWAY"}},
		{Params{Route: []string{"10.0.0.0/8:[2001:db8::1]"}}, []string{"gateway", "same family"}},
		{Params{Route: []string{"10.0.0.0/8:"}}, []string{"a gateway or a device"}},
		{Params{VLAN: []string{"eth0.4095:eth0"}}, []string{"vlan=eth0.4095:eth0", "vlanname \"eth0.4095\"", "4094"}},
		{Params{VLAN: []string{"vlan0:eth0"}}, []string{"vlanname", "tag"}},
		{Params{VLAN: []string{"lan5:eth0"}}, []string{"vlanname", "tag"}},
		{Params{VLAN: []string{"vlan5"}}, []string{"phydevice"}},
		{Params{VLAN: []string{"vlan5:eth0", "eth0.0005:eth0"}}, []string{"one device for each tag", "vlan5"}},
		{Params{Bond: []string{"bond0:eth0,eth0"}}, []string{"bond=bond0:eth0,eth0", "bondslaves \"eth0\"", "different"}},
		{Params{Bond: []string{"bond0:eth0,,eth1"}}, []string{"bondslaves \"\""}},
		{Params{Bond: []string{"bond0:eth0:mode=best"}}, []string{"options \"mode=best\"", "active-backup"}},
		{Params{Bond: []string{"bond0:eth0:speed=1"}}, []string{"options \"speed=1\"", "bonding.rst"}},
		{Params{Bond: []string{"bond0:eth0:mode=1:9"}}, []string{"mtu \"9\""}},
		{Params{Bond: []string{"bond0:eth0", "bond1:eth0"}}, []string{"each device", "bond0"}},
		{Params{IfName: []string{"lan0"}}, []string{"ifname=lan0", "address"}},
		{Params{IfName: []string{"lan0:52:54:00:12:34:56", "lan0:52:54:00:12:34:57"}}, []string{"one name for each address"}},
	} {
		_, err := Parse(c.p)
		if err == nil {
			t.Errorf("%+v accepted", c.p)
			continue
		}
		if !complaint.MatchString(err.Error()) {
			t.Errorf("%+v: not of the form of a complaint: %v", c.p, err)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %q not in %q", c.p, w, err)
			}
		}
	}
	// All at once.
	_, err := Parse(Params{IP: []string{"dhpc", "1.2.3"}, BootIF: []string{"x"}})
	if n := strings.Count(fmt.Sprint(err), "expected"); n != 3 {
		t.Errorf("%d complaints: %v", n, err)
	}
}

func TestOthers(t *testing.T) {
	c, err := Parse(Params{
		IP:         []string{"eth0:dhcp", "10.0.0.5:::24::eth0:none", "10.0.0.6:::24::eth1:none", "[fd00::5]:::::eth1:none"},
		BootIF:     []string{"01-52-54-00-AB-CD-EF"},
		NameServer: []string{"10.0.0.3", "[2001:db8::3]", "2001:db8::4"},
		Route:      []string{"192.168.200.0/24:192.168.100.222:ens10", "10.7.0.0/255.255.0.0:10.0.0.7", "192.168.201.0/24::ens10", "[2001:DB8:3::/48]:[2001:DB8:2::1]:ens10", "default:10.0.0.1"},
		IfName:     []string{"lan0:52:54:00:12:34:56"},
	})
	if err == nil || len(c.Entries) != 4 || !strings.Contains(err.Error(), "eth0") || strings.Contains(err.Error(), "eth1") {
		t.Errorf("%v", err)
	}
	if c.BootMAC.String() != "52:54:00:ab:cd:ef" {
		t.Errorf("BOOTIF %v", c.BootMAC)
	}
	if d := cmp.Diff([]netip.Addr{addr("10.0.0.3"), addr("2001:db8::3"), addr("2001:db8::4")}, c.DNS, equal...); d != "" {
		t.Error(d)
	}
	want := []Route{
		{prefix("192.168.200.0/24"), addr("192.168.100.222"), "ens10"}, {prefix("10.7.0.0/16"), addr("10.0.0.7"), ""},
		{Dst: prefix("192.168.201.0/24"), Link: "ens10"}, {prefix("2001:db8:3::/48"), addr("2001:db8:2::1"), "ens10"},
		{prefix("0.0.0.0/0"), addr("10.0.0.1"), ""},
	}
	if d := cmp.Diff(want, c.Routes, equal...); d != "" {
		t.Error(d)
	}
	for text, want := range map[string]bool{"0": false, "1": true} {
		c, err := Parse(Params{BootIF: []string{"01-52-54-00-AB-CD-EF"}, RdBootIF: []string{text}, BootDev: []string{"eth0", "eth1"}})
		if err != nil || (c.BootMAC != nil) != want || c.BootDev != "eth1" {
			t.Errorf("rd.bootif=%s: %+v, %v", text, c, err)
		}
	}
	if len(c.Names) != 1 || c.Names[0].Name != "lan0" {
		t.Errorf("%v", c.Names)
	}
}

func TestStacked(t *testing.T) {
	c, err := Parse(Params{
		VLAN: []string{"vlan0005:eth0", "eth0.6:eth0", "vlan7:bond1"},
		Bond: []string{"", "bond1:ens1,ens2:primary=ens2,mode=4,lacp_rate=fast,miimon=50:9000", "bond2:a:mode=active-backup,arp_ip_target=10.0.0.1;10.0.0.2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]VLAN{{"vlan0005", 5, "eth0"}, {"eth0.6", 6, "eth0"}, {"vlan7", 7, "bond1"}}, c.VLANs); d != "" {
		t.Error(d)
	}
	want := []Bond{
		{Name: "bond0", Slaves: []string{"eth0", "eth1"}, Options: []BondOption{{"mode", "balance-rr"}}},
		{"bond1", []string{"ens1", "ens2"}, []BondOption{{"mode", "802.3ad"}, {"primary", "ens2"}, {"lacp_rate", "fast"}, {"miimon", "50"}}, 9000},
		{Name: "bond2", Slaves: []string{"a"}, Options: []BondOption{{"mode", "active-backup"}, {"arp_ip_target", "10.0.0.1,10.0.0.2"}}},
	}
	if d := cmp.Diff(want, c.Bonds); d != "" {
		t.Error(d)
	}
}

func FuzzStacked(f *testing.F) {
	f.Add("vlan5:eth0", "bond0:eth0,eth1:mode=4,miimon=100:1500")
	f.Add("eth0.0005:eth0", ":::")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, vlan, bond string) {
		c, err := Parse(Params{VLAN: []string{vlan}, Bond: []string{bond}})
		if err == nil && len(c.VLANs)+len(c.Bonds) != 1+len(given([]string{vlan})) {
			t.Errorf("something was dropped without a word: %+v", c)
		}
		for _, v := range c.VLANs {
			if v.ID < 1 || v.ID > 4094 || !validLink(v.Name) || !validLink(v.Parent) {
				t.Errorf("%+v", v)
			}
		}
		for _, b := range c.Bonds {
			if !validLink(b.Name) || len(b.Slaves) == 0 || b.Options[0].Key != "mode" {
				t.Errorf("%+v", b)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"dhcp", "eth0:dhcp,dhcp6", "eth0:dhcp:1400:52:54:00:12:34:56", "192.168.0.10:192.168.0.2:192.168.0.1:255.255.255.128:node7:eth0:off:192.168.0.3:192.168.0.4:192.168.0.5",
		"[2001:db8::5]::[2001:db8::1]:64:node7:eth0:none:[2001:db8::3]", "dhcp,1,0a", ":::::eth0:dhcp::52-54-00-12-34-56",
	} {
		f.Add(s, "01-52-54-00-12-34-56", "10.0.0.1", "10.0.0.0/8:10.1.0.1:eth0", "lan0:52:54:00:12:34:56")
	}
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, ip, bootif, ns, route, name string) {
		c, err := Parse(Params{IP: []string{ip}, BootIF: []string{bootif}, NameServer: []string{ns}, Route: []string{route}, IfName: []string{name}})
		entries := len(c.Entries)
		if entries == 2 && strings.Contains(ip, ",") && c.Entries[0].v6() != c.Entries[1].v6() {
			entries = 1 // of two methods
		}
		if err == nil && entries+len(c.DNS)+len(c.Routes)+len(c.Names) != 1+len(given([]string{ns, route, name})) {
			t.Errorf("something was dropped without a word: %+v", c)
		}
		if err != nil && !complaint.MatchString(err.Error()) {
			t.Errorf("not of the form of a complaint: %v", err)
		}
		for _, e := range c.Entries {
			if (e.Method == Static) != e.Addr.IsValid() || e.Method == "" || e.Addr.Addr().Zone() != "" ||
				e.MTU != 0 && (e.MTU < 68 || e.MTU > 65535) || len(e.MAC) != 0 && len(e.MAC) != 6 {
				t.Errorf("%+v", e)
			}
		}
		for _, r := range c.Routes {
			if !r.Dst.IsValid() || r.Dst != r.Dst.Masked() || !r.Gateway.IsValid() && r.Link == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// What says nothing, or the same twice, is no mistake.
func TestHarmless(t *testing.T) {
	static := Entry{Method: Static, Link: "eth0", Addr: netip.MustParsePrefix("10.0.0.5/24"), Gateway: netip.MustParseAddr("10.0.0.1")}
	boot, _ := net.ParseMAC("52:54:00:12:34:56")
	bond := Bond{Name: "bond0", Slaves: []string{"eth0", "eth1"}, Options: []BondOption{{"mode", "balance-rr"}}}
	for name, c := range map[string]struct {
		p    Params
		want Config
	}{
		"empty fields at the end":        {Params{IP: []string{"10.0.0.5::10.0.0.1:255.255.255.0::eth0:::::"}}, Config{Entries: []Entry{static}}},
		"more of them":                   {Params{IP: []string{"10.0.0.5::10.0.0.1:24::eth0:none::::::::"}}, Config{Entries: []Entry{static}}},
		"an empty field behind a method": {Params{IP: []string{"eth0:dhcp:"}}, Config{Entries: []Entry{{Method: DHCP, Link: "eth0"}}}},
		"a prefix behind the address":    {Params{IP: []string{"10.0.0.5/24::10.0.0.1:::eth0:none", "10.0.0.5::10.0.0.1:/24::eth0:none"}}, Config{Entries: []Entry{static}}},
		"and in its brackets": {Params{IP: []string{"[2001:db8::5/64]::[2001:db8::1]:::eth0"}},
			Config{Entries: []Entry{{Method: Static, Link: "eth0", Addr: netip.MustParsePrefix("2001:db8::5/64"), Gateway: netip.MustParseAddr("2001:db8::1")}}}},
		"a device by its address":         {Params{IP: []string{"52-54-00-12-34-56:dhcp"}}, Config{Entries: []Entry{{Method: DHCP, Link: "enx525400123456"}}}},
		"and in the kernel's fields":      {Params{IP: []string{":::::52-54-00-12-34-56:dhcp"}}, Config{Entries: []Entry{{Method: DHCP, Link: "enx525400123456"}}}},
		"the same twice":                  {Params{IP: []string{"dhcp", "dhcp"}}, Config{Entries: []Entry{{Method: DHCP}}}},
		"the same twice, for a device":    {Params{IP: []string{"eth0:dhcp", "::::::dhcp", ":::::eth0:dhcp"}}, Config{Entries: []Entry{{Method: DHCP, Link: "eth0"}, {Method: DHCP}}}},
		"the same bond twice":             {Params{Bond: []string{"bond0:eth0,eth1:mode=0", "bond0:eth0,eth1:balance-rr"}}, Config{Bonds: []Bond{bond}}},
		"a bond's mode alone":             {Params{Bond: []string{"bond0:eth0,eth1:balance-rr"}}, Config{Bonds: []Bond{bond}}},
		"BOOTIF of a loader without one":  {Params{BootIF: []string{""}}, Config{}},
		"BOOTIF in one word":              {Params{BootIF: []string{"525400123456"}}, Config{BootMAC: boot}},
		"BOOTIF with its type alone":      {Params{BootIF: []string{"01-"}}, Config{}},
		"BOOTIF that is to be ignored":    {Params{BootIF: []string{"nonsense"}, RdBootIF: []string{"0"}}, Config{}},
		"the card of BOOTIF, by its word": {Params{IP: []string{":::::BOOTIF:dhcp"}, BootIF: []string{"01-52-54-00-12-34-56"}}, Config{BootMAC: boot, Entries: []Entry{{Method: DHCP, Link: "enx525400123456"}}}},
		"and in a device's place":         {Params{IP: []string{"BOOTIF:dhcp"}, BootIF: []string{"01-52-54-00-12-34-56"}}, Config{BootMAC: boot, Entries: []Entry{{Method: DHCP, Link: "enx525400123456"}}}},
		"that word without a BOOTIF":      {Params{IP: []string{"BOOTIF:dhcp"}}, Config{Entries: []Entry{{Method: DHCP}}}},
	} {
		got, err := Parse(c.p)
		for i := range got.Entries {
			got.Entries[i].Text = ""
		}
		if d := cmp.Diff(c.want, got, equal...); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
}

// What dracut knows and this does not is named, with what to do.
func TestUnsupported(t *testing.T) {
	c, err := Parse(Params{Team: []string{"team0:eth0,eth1"}, Bridge: []string{"br0:eth0"}})
	if err != nil || len(c.Notes) != 2 || !strings.Contains(c.Notes[0], "bond=") || !strings.Contains(c.Notes[1], "bridge=br0:eth0") {
		t.Errorf("%v %q", err, c.Notes)
	}
	_, err = Parse(Params{BootIF: []string{"20-00-00-10-52-00-00-00-00-00-00-00-00-00-02-c9-03-00-00-00-01"}})
	if err == nil || !strings.Contains(err.Error(), "InfiniBand") {
		t.Errorf("%v", err)
	}
}

// Lines that say nothing more than they would without what is empty in them.
func TestEmptyValues(t *testing.T) {
	none := []string{""}
	c, err := Parse(Params{BootDev: none, NameServer: none, Route: none, IfName: none, VLAN: none, BootIF: none})
	if want, _ := Parse(Params{}); err != nil || cmp.Diff(want, c) != "" {
		t.Errorf("%v %+v", err, c)
	}
	for _, ip := range []string{"dhcp:", "dhcp:::::", "dhcp,dhcp6::"} {
		c, err := Parse(Params{IP: []string{ip}})
		if err != nil || c.Entries[0].Method != DHCP || c.Entries[0].Link != "" {
			t.Errorf("ip=%s: %v %+v", ip, err, c.Entries)
		}
	}
}
