// Package networkd is what a network that stays up says of itself to stage 2:
// as JSON, and as files that have systemd-networkd take it over.
package networkd

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"netstage/netup/internal/dhcp6"
)

// State is what a network that stays up says of itself to stage 2, as JSON. A
// field that is unknown or empty is left out. Addresses are in their usual
// text form, those of Addresses with prefix length.
type State struct {
	Version    int            `json:"version"` // of this format: 1
	Link       string         `json:"link"`
	MAC        string         `json:"mac"`
	Driver     string         `json:"driver,omitempty"`
	Kind       string         `json:"kind,omitempty"`         // vlan or bond
	Stack      []Device       `json:"stack,omitempty"`        // of those: Link and all beneath it
	ClientID   string         `json:"client_id,omitempty"`    // of DHCP, in hex, where it is not the MAC
	Source     string         `json:"source"`                 // dhcp, dhcp6, ra, static or kernel; see Lease
	Other      string         `json:"other_source,omitempty"` // the same of the other address family's lease, where there is one
	Addresses  []netip.Prefix `json:"addresses"`              // the lease's first
	Routes     []Route        `json:"routes,omitempty"`
	DNS        []netip.Addr   `json:"dns,omitempty"`
	Search     []string       `json:"search,omitempty"`
	NTP        []netip.Addr   `json:"ntp,omitempty"`
	MTU        int            `json:"mtu,omitempty"`
	Hostname   string         `json:"hostname,omitempty"`
	Server     *netip.Addr    `json:"server,omitempty"` // who gave the lease
	Next       *netip.Addr    `json:"next_server,omitempty"`
	NextName   string         `json:"tftp_server_name,omitempty"`
	BootFile   string         `json:"boot_file,omitempty"`
	BootParams []string       `json:"boot_file_params,omitempty"` // of DHCPv6
	// Lease is the lease's length in seconds and Left what was left of it when
	// this was written; both are absent from an address without end.
	Lease int `json:"lease_seconds,omitempty"`
	Left  int `json:"left_seconds,omitempty"`

	LinkMTU  int  `json:"-"` // the link's own: a router's is IPv6's alone, and networkd hears it again
	RouteMTU int  `json:"-"` // of the IPv4 routes
	Asked6   bool `json:"-"` // DHCPv6 was asked whatever routers say
}

// Route is a route; without Via it is on the link.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via *netip.Addr  `json:"via,omitempty"`
	Own bool         `json:"-"` // rd.route=, which no server gives again
}

// JSON is the text of a network.json.
func (k State) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(k, "", "  ")
	return append(b, '\n'), err
}

// Network is a systemd.network(5) file that has systemd-networkd take the
// link over as it is and keep its addresses alive: by renewing the lease at
// the same server, by router advertisements, or by setting them again.
func (k State) Network() []byte {
	f := networkFile{State: k}
	f.line("# The network that stage 1 brought up and boot.network=keep keeps.")
	if k.Kind != "" { // what it is stacked on has its address, too
		f.line("[Match]\nName=%s\n", k.Link)
	} else {
		f.line("[Match]\nMACAddress=%s\nType=!vlan bond bridge\n", k.MAC)
	}
	if k.LinkMTU != 0 {
		f.line("[Link]\nMTUBytes=%d\n", k.LinkMTU)
	}
	f.network()
	f.clients()
	f.routes()
	return []byte(f.text.String())
}

// networkFile is that file while it is written.
type networkFile struct {
	State
	text strings.Builder
}

func (f *networkFile) line(format string, args ...any) { fmt.Fprintf(&f.text, format+"\n", args...) }

// network is the section of that name.
func (f *networkFile) network() {
	f.line("[Network]\nKeepConfiguration=yes")
	switch six := f.Asked6 && f.from("dhcp6"); {
	case six && f.from("dhcp"):
		f.line("DHCP=yes")
	case six:
		f.line("DHCP=ipv6")
	case f.from("dhcp"):
		f.line("DHCP=ipv4")
	}
	// A router says whether there is a DHCPv6 server.
	if f.from("ra") || f.from("dhcp6") {
		f.line("IPv6AcceptRA=yes")
	}
	for _, a := range f.Addresses {
		if !f.given(a.Addr()) {
			f.line("Address=%s", a)
		}
	}
	for _, a := range f.DNS {
		f.line("DNS=%s", a)
	}
	if len(f.Search) > 0 {
		f.line("Domains=%s", strings.Join(f.Search, " "))
	}
	for _, a := range f.NTP {
		f.line("NTP=%s", a)
	}
}

// clients are the sections of the protocols that give the addresses again.
func (f *networkFile) clients() {
	mac, _ := net.ParseMAC(f.MAC)
	if f.from("dhcp") { // the identity that the lease was given to
		id, _ := hex.DecodeString(f.ClientID)
		f.line("\n[DHCPv4]\n%s", strings.Join(clientID(id, mac), "\n"))
		if f.RouteMTU != 0 {
			f.line("UseMTU=no\nRouteMTUBytes=%d", f.RouteMTU)
		}
	}
	if f.from("dhcp6") && len(mac) > 0 {
		f.line("\n[DHCPv6]\nIAID=%d\nDUIDType=link-layer\nDUIDRawData=00:01:%s", dhcp6.IAID(mac), mac)
		if f.Asked6 {
			f.line("WithoutRA=solicit")
		}
	}
	if f.from("ra") || f.from("dhcp6") {
		f.line("\n[IPv6AcceptRA]\nToken=eui64")
	}
}

// routes are a section each, but for those that a server gives again.
func (f *networkFile) routes() {
	for _, r := range f.Routes {
		if !r.Own && f.given(r.To.Addr()) {
			continue
		}
		f.line("\n[Route]\nDestination=%s", r.To)
		if r.Via != nil {
			f.line("Gateway=%s\nGatewayOnLink=yes", r.Via)
		} else if r.To.Addr().Is4() {
			f.line("Scope=link")
		}
	}
}

// from reports whether a lease has this source.
func (k State) from(source string) bool { return k.Source == source || k.Other == source }

// given reports whether a server or a router gives the addresses of a's family,
// and gives them again.
func (k State) given(a netip.Addr) bool {
	if a.Is4() {
		return k.from("dhcp")
	}
	return k.from("dhcp6") || k.from("ra")
}
