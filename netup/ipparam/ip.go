package ipparam

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// methods are the words for autoconf, the kernel's and dracut's.
var methods = map[string]Method{
	"on": Any, "any": Any, "dhcp": DHCP, "single-dhcp": DHCP, "dhcp4": DHCP,
	// Every DHCP server still answers what these asked for; bootp asks as BOOTP
	// does, too.
	"bootp": DHCP, "rarp": DHCP, "both": DHCP,
	"dhcp6": DHCP6, "auto6": Auto6, "link6": Auto6, "either6": Auto6,
	"off": Off, "none": Off, "static": Off, "ibft": IBFT,
}

const wantMask = "a netmask such as 255.255.255.0 or a prefix length"

const wantMethod = "dhcp, on, any, dhcp6, auto6, either6, link6, ibft, off or none, or two such as dhcp,dhcp6"

// parser reads the fields of one ip=.
type parser struct {
	text   string
	fields []string
	e      Entry
	second Method // of another address family, beside the entry's; "" mostly
}

func (p *parser) fail(field, got, want string) error {
	return &Error{Param: "ip=" + p.text, Field: field, Got: got, Want: want}
}

// parseIP reads one ip=. The forms are told apart as dracut does it: a single
// word, a device and a method, or the kernel's ten fields.
func parseIP(s string) ([]Entry, error) {
	p := &parser{text: s, e: Entry{Text: s}}
	var ok bool
	if p.fields, ok = split(s); !ok {
		return nil, p.fail("", s, "every [ to have its ]")
	}
	for len(p.fields) > 2 && p.fields[len(p.fields)-1] == "" { // empty fields at the end say nothing
		p.fields = p.fields[:len(p.fields)-1]
	}
	var err error
	switch first := p.fields[0]; {
	case s == "": // the kernel's way of saying off
		p.e.Method = Off
	case (len(p.fields) == 1 || len(p.fields) == 2 && p.fields[1] == "") && isMethod(first):
		err = p.method(first)
	case len(p.fields) > 1 && !isAddr(first) && first != "" && isMethod(p.fields[1]):
		err = p.deviceForm()
	default:
		err = p.kernelForm()
	}
	if err != nil {
		return nil, err
	}
	out := []Entry{p.e}
	if p.second != "" {
		p.e.Method = p.second
		out = append(out, p.e)
	}
	return out, nil
}

func isMethod(s string) bool {
	name, _, _ := strings.Cut(s, ",")
	_, ok := methods[name]
	return ok
}

func isAddr(s string) bool { _, ok := parseAddr(s); return ok }

// method reads the autoconf word, with the kernel's "dhcp,TYPE,ID", or dracut's
// list of words, of which there can be one for each address family.
func (p *parser) method(s string) error {
	name, id, has := strings.Cut(s, ",")
	if two, ok := methods[id]; has && ok {
		one := methods[name]
		if finds := one == DHCP && two.v6() || one.v6() && two == DHCP; !finds {
			return p.fail("autoconf", s, "two methods of which one is dhcp, and the other dhcp6 or auto6")
		}
		p.e.Method, p.second = DHCP, two
		if one.v6() {
			p.second = one
		}
		return nil
	}
	m, ok := methods[name]
	if !ok || has && name != "dhcp" {
		return p.fail("autoconf", s, wantMethod)
	}
	p.e.Method, p.e.BOOTP = m, name == "bootp"
	if has {
		if p.e.ClientID, ok = parseClientID(id); !ok {
			return p.fail("autoconf", s, "dhcp,TYPE,ID with a TYPE from 0 to 255")
		}
	}
	return nil
}

// parseClientID reads the TYPE,ID of a DHCP client identifier.
func parseClientID(s string) ([]byte, bool) {
	typ, value, _ := strings.Cut(s, ",")
	n, err := strconv.ParseUint(typ, 10, 8)
	if err != nil || value == "" || len(value) > 250 {
		return nil, false
	}
	raw := []byte(value)
	if b, err := hex.DecodeString(value); err == nil && n == 1 {
		raw = b // an Ethernet address in hex
	}
	return append([]byte{byte(n)}, raw...), true
}

// deviceForm is DEVICE:METHOD[:[MTU][:MAC]].
func (p *parser) deviceForm() error {
	if err := p.link(p.fields[0]); err != nil {
		return err
	}
	if err := p.method(p.fields[1]); err != nil {
		return err
	}
	if p.fields[1] == "static" {
		return p.fail("client-ip", "", "an address, which autoconf static needs")
	}
	return p.tail(p.fields[2:])
}

// kernelForm is CLIENT:SERVER:GW:MASK:HOST:DEVICE:AUTOCONF and then either
// DNS0:DNS1:NTP0 or dracut's MTU:MAC.
func (p *parser) kernelForm() error {
	f := make([]string, 7)
	copy(f, p.fields)
	var rest []string
	if len(p.fields) > 7 {
		rest = p.fields[7:]
	}
	if own, _, _ := cutPrefix(f[0]); len(p.fields) == 1 && !isAddr(own) {
		return p.fail("", f[0], "an address, or "+wantMethod)
	}
	own, bits, hasBits := cutPrefix(f[0])
	if hasBits && f[3] == "" { // as people write it
		f[0], f[3] = own, bits
	}
	f[3] = strings.TrimPrefix(f[3], "/")
	client, err := p.addr("client-ip", f[0])
	if err != nil {
		return err
	}
	if err = p.peer(f[1]); err != nil {
		return err
	}
	if p.e.Gateway, err = p.addr("gw-ip", f[2]); err != nil {
		return err
	}
	if f[4] != "" && !validHost(f[4]) {
		return p.fail("hostname", f[4], "letters, digits, dots and dashes")
	}
	p.e.Hostname = f[4]
	if _, word := methods[f[5]]; word {
		return p.fail("device", f[5], "a device name; autoconf comes one field later")
	}
	if f[5] != "" {
		if err := p.link(f[5]); err != nil {
			return err
		}
	}
	if f[6] != "" {
		if err := p.method(f[6]); err != nil {
			return err
		}
	}
	if err := p.address(client, f[3], f[6]); err != nil {
		return err
	}
	return p.tail(rest)
}

// peer reads the kernel's server-ip, which is dracut's peer: the other end of
// the link, with a prefix length if it likes.
func (p *parser) peer(s string) (err error) {
	addr, bits, cut := cutPrefix(s)
	if p.e.Peer, err = p.addr("server-ip", addr); err != nil || !cut {
		return err
	}
	n, err := strconv.Atoi(bits)
	if err != nil || !isDigits(bits) || !p.e.Peer.IsValid() || n > p.e.Peer.BitLen() {
		return p.fail("server-ip", s, "an address, and behind its slash a prefix length")
	}
	p.e.PeerNet = netip.PrefixFrom(p.e.Peer, n).Masked()
	return nil
}

// address settles what the client address, the mask and the method mean
// together.
func (p *parser) address(client netip.Addr, mask, method string) error {
	if mask == "0.0.0.0" { // the kernel takes that for nothing, as in the other fields
		mask = ""
	}
	if !client.IsValid() {
		return p.noAddress(mask, method)
	}
	if method != "" && p.e.Method != Off {
		return p.fail("client-ip", client.String(), "nothing, which is what autoconf "+method+" leaves it to find")
	}
	p.e.Method = Static
	bits, ok := classBits(client), true
	if mask != "" {
		bits, ok = parseMask(mask, client.BitLen())
	}
	if !ok || bits == 0 {
		return p.fail("netmask", mask, wantMask)
	}
	p.e.Addr = netip.PrefixFrom(client, bits)
	if g := p.e.Gateway; g.IsValid() && g.Is4() != client.Is4() {
		return p.fail("gw-ip", g.String(), "the same family as client-ip "+client.String())
	}
	if client.IsMulticast() || client.IsLoopback() || client == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return p.fail("client-ip", client.String(), "an address a host can have")
	}
	return nil
}

// noAddress is address without a client address. The mask is of the one that
// DHCP brings.
func (p *parser) noAddress(mask, method string) error {
	if mask != "" {
		bits, ok := parseMask(mask, 32)
		if !ok || bits == 0 {
			return p.fail("netmask", mask, wantMask)
		}
		if method != "" && p.e.Method != DHCP && p.e.Method != Any {
			return p.fail("netmask", mask, "nothing without a client-ip or DHCP")
		}
		p.e.Bits = bits
	}
	switch {
	case method == "":
		p.e.Method = Any
	case p.e.Method == Off && (p.e.Link == "" || method == "static"):
		return p.fail("client-ip", "", "an address, which autoconf "+method+" needs")
	}
	return nil
}

// link reads a device: its name, or its Ethernet address with dashes.
func (p *parser) link(s string) error {
	if mac, ok := parseMAC(s); ok && strings.Contains(s, "-") {
		s = "enx" + hex.EncodeToString(mac)
	}
	if !validLink(s) {
		return p.fail("device", s, wantLink)
	}
	p.e.Link = s
	return nil
}

// addr reads an address field; empty, and the kernel's 0.0.0.0, is none.
func (p *parser) addr(field, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, ok := parseAddr(s)
	if !ok {
		return a, p.fail(field, s, "an IPv4 address, or an IPv6 address in brackets")
	}
	if a.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return a, nil
}

// tail reads what follows the method: DNS0:DNS1:NTP0, or MTU:MAC.
func (p *parser) tail(f []string) error {
	if len(f) == 0 {
		return nil
	}
	_, mac := parseMAC(strings.Join(f[1:], ":"))
	if mac || isDigits(f[0]) {
		mtu, ok := parseMTU(f[0])
		if !ok {
			return p.fail("mtu", f[0], wantMTU)
		}
		p.e.MTU = mtu
		if mac := strings.Join(f[1:], ":"); mac != "" {
			m, ok := parseMAC(mac)
			if !ok || m[0]&1 != 0 {
				return p.fail("macaddr", mac, "an Ethernet address such as 52:54:00:12:34:56")
			}
			p.e.MAC = m
		}
		return nil
	}
	if len(f) > 3 {
		return p.fail("", p.text, "at most ten fields")
	}
	for i, name := range []string{"dns0-ip", "dns1-ip", "ntp0-ip"}[:len(f)] {
		a, err := p.addr(name, f[i])
		switch {
		case err != nil:
			return err
		case !a.IsValid():
		case i < 2:
			p.e.DNS = append(p.e.DNS, a)
		default:
			p.e.NTP = append(p.e.NTP, a)
		}
	}
	return nil
}
