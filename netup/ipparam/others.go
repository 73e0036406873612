package ipparam

import (
	"bytes"
	"encoding/hex"
	"net"
	"slices"
	"strings"
)

// parseBootIF reads pxelinux's BOOTIF=: an address with dashes or colons, most
// often after the hardware type 01, Ethernet. Without an address, as a boot
// loader writes it that knows none, it is nil.
func parseBootIF(s string) (net.HardwareAddr, error) {
	t := s
	if t = strings.TrimRight(t, "-:"); t == "" || t == "01" {
		return nil, nil
	}
	if len(s) > 20 && strings.HasPrefix(s, "20") {
		return nil, &Error{Param: "BOOTIF=" + s, Field: "address", Got: s, Want: "an Ethernet address: InfiniBand is not supported, an adapter's Ethernet mode is"}
	}
	t = s
	if len(t) == 20 && (strings.HasPrefix(t, "01-") || strings.HasPrefix(t, "01:")) {
		t = t[3:]
	}
	mac, ok := parseMAC(t)
	if !ok && len(t) == 12 { // as iPXE's ${mac:hexraw} has it
		raw, err := hex.DecodeString(t)
		mac, ok = raw, err == nil
	}
	if !ok {
		return nil, &Error{Param: "BOOTIF=" + s, Field: "address", Got: s, Want: "an Ethernet address such as 01-52-54-00-12-34-56"}
	}
	return mac, nil
}

// parseRoute reads NET/MASK:[GATEWAY][:DEVICE].
func parseRoute(s string) (Route, error) {
	fail := func(field, got, want string) error {
		return &Error{Param: "rd.route=" + s, Field: field, Got: got, Want: want}
	}
	f, ok := split(s)
	if !ok || len(f) < 2 || len(f) > 3 {
		return Route{}, fail("", s, "NET/MASK:GATEWAY[:DEVICE], IPv6 in brackets")
	}
	var r Route
	if r.Dst, ok = parseNet(f[0]); !ok {
		return Route{}, fail("network", f[0], "an address with a netmask or a prefix length")
	}
	if f[1] != "" {
		if r.Gateway, ok = parseAddr(f[1]); !ok || r.Gateway.IsUnspecified() || r.Gateway.IsMulticast() {
			return Route{}, fail("gateway", f[1], "an address")
		}
		// "default" takes the gateway's family.
		if f[0] == "default" && r.Gateway.Is6() {
			r.Dst, _ = parseNet("::/0")
		}
		if r.Gateway.Is4() != r.Dst.Addr().Is4() {
			return Route{}, fail("gateway", f[1], "the same family as the network's")
		}
	}
	if len(f) == 3 {
		r.Link = f[2]
	}
	if r.Link != "" && !validLink(r.Link) {
		return Route{}, fail("device", r.Link, wantLink)
	}
	if f[1] == "" && r.Link == "" {
		return Route{}, fail("gateway", "", "a gateway or a device")
	}
	return r, nil
}

// parseIfName reads NAME:MAC.
func (c *Config) parseIfName(s string) (Name, error) {
	fail := func(field, got, want string) error {
		return &Error{Param: "ifname=" + s, Field: field, Got: got, Want: want}
	}
	name, addr, _ := strings.Cut(s, ":")
	if !validLink(name) {
		return Name{}, fail("name", name, wantLink)
	}
	mac, ok := parseMAC(addr)
	if !ok {
		return Name{}, fail("address", addr, "an Ethernet address such as 52:54:00:12:34:56")
	}
	for _, n := range c.Names {
		if (n.Name == name) != bytes.Equal(n.MAC, mac) {
			return Name{}, fail("name", name, "one name for each address, but "+n.Name+" is "+n.MAC.String())
		}
	}
	return Name{Name: name, MAC: mac}, nil
}

// WantsIBFT reports whether the firmware's iBFT may have a say: it was asked
// for, or nothing else was.
func (c Config) WantsIBFT() bool {
	return !c.NoIBFT && (c.asksIBFT() || len(c.Entries)+len(c.VLANs)+len(c.Bonds) == 0)
}

func (c Config) asksIBFT() bool {
	return slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Method == IBFT })
}

// on and off are dracut's words for switches.
func on(s string) bool  { return s == "" || s == "1" || s == "yes" || s == "true" }
func off(s string) bool { return s == "0" || s == "no" || s == "false" }

// readIBFT reads dracut's rd.iscsi.ibft: the same as ip=ibft, and with 0 its
// opposite, which then has the last word.
func (c *Config) readIBFT(values []string) []error {
	for _, s := range values {
		switch {
		case on(s):
			c.NoIBFT = false
			if !c.asksIBFT() {
				c.Entries = append(c.Entries, Entry{Text: "ibft", Method: IBFT})
			}
		case off(s):
			c.NoIBFT = true
		default:
			return []error{&Error{Param: "rd.iscsi.ibft=" + s, Field: "switch", Got: s, Want: "0 or 1"}}
		}
	}
	if c.NoIBFT {
		c.Entries = slices.DeleteFunc(c.Entries, func(e Entry) bool { return e.Method == IBFT })
	}
	return nil
}
