// Package ipparam reads what an operator writes about the network: the kernel's
// ip= in every form (Documentation/admin-guide/nfs/nfsroot.rst), dracut's ip=,
// nameserver=, rd.route=, ifname=, vlan=, bond=, bootdev=, rd.bootif=,
// rd.iscsi.ibft= (dracut.cmdline(7)) and pxelinux's BOOTIF=. It takes the
// values of those parameters and gives plain values back; it touches nothing.
package ipparam

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"netstage/stage1/fault"
)

// Params are the values of the parameters, in the order given, without names.
type Params struct {
	IP         []string
	IBFT       []string // rd.iscsi.ibft=
	BootIF     []string
	RdBootIF   []string // rd.bootif=
	BootDev    []string // bootdev=
	NameServer []string
	Route      []string // rd.route=
	IfName     []string
	VLAN       []string
	Bond       []string
	Team       []string // team=, which is not supported
	Bridge     []string // bridge=, which is not supported
}

// Method is how a link gets its address.
type Method string

// The methods. An entry without one leaves the choice to us: Any.
const (
	Any    Method = "any"    // on, any: by DHCP and by IPv6 router advertisements, whatever comes first
	DHCP   Method = "dhcp"   // dhcp, dhcp4, single-dhcp, and the kernel's bootp, rarp, both: IPv4 alone
	DHCP6  Method = "dhcp6"  // DHCPv6, whatever the routers say of it
	Auto6  Method = "auto6"  // IPv6 router advertisements, and DHCPv6 where they say so
	Static Method = "static" // the address is given
	Off    Method = "off"    // leave the link, or all of them, alone
	IBFT   Method = "ibft"   // what the firmware's iBFT says
)

// Config is all of it. The zero Config asks for nothing: Any everywhere.
type Config struct {
	Entries []Entry          // one per ip=, or per method of one such as ip=dhcp,dhcp6
	BootMAC net.HardwareAddr // BOOTIF=; nil when not given
	BootDev string           // bootdev=, the device that leads to the image; "" when not given
	Names   []Name           // ifname=
	DNS     []netip.Addr     // nameserver=
	Routes  []Route          // rd.route=
	VLANs   []VLAN           // vlan=
	Bonds   []Bond           // bond=
	NoIBFT  bool             // rd.iscsi.ibft=0: the firmware's iBFT has no say
	Notes   []string         // what was passed over, and what to do about it
}

// Entry is one ip=.
type Entry struct {
	Text     string // as written
	Link     string // device name; "" is any
	Method   Method
	Addr     netip.Prefix // Static: the address and its on-link prefix
	Bits     int          // DHCP, Any: the IPv4 prefix length instead of the server's; 0: not given
	Peer     netip.Addr   // the kernel's server-ip, dracut's peer
	PeerNet  netip.Prefix // dracut's peer with a prefix length: on the link
	Gateway  netip.Addr   // DHCP, Any: instead of the server's
	Hostname string
	DNS      []netip.Addr
	NTP      []netip.Addr
	MTU      int              // 0: not given
	MAC      net.HardwareAddr // to be given to the device; nil: not given
	ClientID []byte           // DHCP client identifier, type first; nil: not given
	BOOTP    bool             // DHCP: ask as BOOTP does, too
}

// Name is one ifname=: the device with this address is to have this name.
type Name struct {
	Name string
	MAC  net.HardwareAddr
}

// Route is one rd.route=.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr // not valid: on the link
	Link    string     // "": any
}

// Error is one malformed field.
type Error struct {
	Param string // "ip=…" as written
	Field string // its name in the documentation, "" for the whole
	Got   string
	Want  string
}

// Error shows the parameter, the field and what was expected.
func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s: expected %s", e.Param, e.Want)
	}
	return fmt.Sprintf("%s: %s %q: expected %s", e.Param, e.Field, e.Got, e.Want)
}

// Unwrap has the class, bad-parameter.
func (e *Error) Unwrap() error { return &fault.Error{Class: fault.BadParameter, Text: e.Error()} }

// Parse reads all parameters. Every mistake is reported, joined; what could be
// read is returned with them.
func Parse(p Params) (Config, error) {
	var c Config
	errs := readEach(p.IP, parseIP, func(entries []Entry) {
		for _, e := range entries {
			if !slices.ContainsFunc(c.Entries, e.same) {
				c.Entries = append(c.Entries, e)
			}
		}
	})
	errs = append(errs, c.readIBFT(p.IBFT)...)
	if n := len(p.RdBootIF); n == 0 || !off(p.RdBootIF[n-1]) {
		errs = append(errs, readEach(p.BootIF, parseBootIF, func(mac net.HardwareAddr) {
			if mac != nil {
				c.BootMAC = mac
			}
		})...)
	}
	c.resolveBootIF()
	c.noteUnsupported(p)
	errs = append(errs, readEach(given(p.BootDev), parseBootDev, func(s string) { c.BootDev = s })...)
	errs = append(errs, readEach(given(p.NameServer), parseNameServer, func(a netip.Addr) { c.DNS = append(c.DNS, a) })...)
	errs = append(errs, readEach(given(p.Route), parseRoute, func(r Route) { c.Routes = append(c.Routes, r) })...)
	errs = append(errs, readEach(given(p.IfName), c.parseIfName, func(n Name) { c.Names = append(c.Names, n) })...)
	errs = append(errs, readEach(given(p.VLAN), c.parseVLAN, func(v VLAN) { c.VLANs = append(c.VLANs, v) })...)
	errs = append(errs, readEach(p.Bond, c.parseBond, func(b Bond) {
		if !slices.ContainsFunc(c.Bonds, b.same) {
			c.Bonds = append(c.Bonds, b)
		}
	})...)
	return c, errors.Join(append(errs, c.conflicts()...)...)
}

// readEach reads every text of a parameter and hands on what could be read
// before it reads the next one, which may contradict it.
func readEach[T any](texts []string, read func(string) (T, error), use func(T)) []error {
	var errs []error
	for _, s := range texts {
		v, err := read(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		use(v)
	}
	return errs
}

// parseBootDev reads bootdev=, a device's name.
func parseBootDev(s string) (string, error) {
	if !validLink(s) {
		return "", &Error{Param: "bootdev=" + s, Field: "device", Got: s, Want: wantLink}
	}
	return s, nil
}

// parseNameServer reads nameserver=, an address.
func parseNameServer(s string) (netip.Addr, error) {
	a, ok := parseAddr(s)
	if !ok || a.IsUnspecified() || a.IsMulticast() {
		return a, &Error{Param: "nameserver=" + s, Field: "address", Got: s, Want: "an IPv4 or IPv6 address"}
	}
	return a, nil
}

// conflicts finds entries that contradict each other.
func (c *Config) conflicts() []error {
	var errs []error
	for i, e := range c.Entries {
		for _, f := range c.Entries[:i] {
			if e.Link != f.Link || e.Method == Static && f.Method == Static && e.Addr != f.Addr ||
				e.v6() != f.v6() && e.Method != Off && f.Method != Off {
				continue
			}
			link := "any device"
			if e.Link != "" {
				link = e.Link
			}
			errs = append(errs, &Error{Param: "ip=" + e.Text, Field: "device", Got: e.Link,
				Want: fmt.Sprintf("no second setting for %s, which ip=%s has settled", link, f.Text)})
			break
		}
	}
	return errs
}

func (e Entry) v6() bool {
	return e.Method.v6() || e.Method == Static && e.Addr.Addr().Is6()
}

func (m Method) v6() bool { return m == DHCP6 || m == Auto6 }

// same reports whether two ip= say the same.
func (e Entry) same(o Entry) bool {
	e.Text, o.Text = "", ""
	return reflect.DeepEqual(e, o)
}

// resolveBootIF puts the card of BOOTIF= in the place of the word, where it
// stands for a device's name; any where there is none.
func (c *Config) resolveBootIF() {
	for i := range c.Entries {
		if !strings.EqualFold(c.Entries[i].Link, "BOOTIF") {
			continue
		}
		c.Entries[i].Link = ""
		if c.BootMAC != nil {
			c.Entries[i].Link = "enx" + strings.ReplaceAll(c.BootMAC.String(), ":", "")
		}
	}
}

// noteUnsupported names what dracut knows and this does not.
func (c *Config) noteUnsupported(p Params) {
	for _, s := range p.Team {
		c.Notes = append(c.Notes, "team="+s+" is not supported: bond=NAME:DEVICES:mode=active-backup or mode=802.3ad does the same with the kernel's own means")
	}
	for _, s := range p.Bridge {
		c.Notes = append(c.Notes, "bridge="+s+" is not supported, and a boot needs none: give ip= the card beneath it, and have stage 2 make the bridge")
	}
}

// given are the values of a parameter that say anything: scripts write the name
// with nothing behind it where they know nothing.
func given(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
}
