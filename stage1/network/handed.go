package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netstage/netup"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/stage1/fault"
)

// Files that a second archive may hand in: what "ip --json addr" and "ip -4
// --json route" said on the machine before kexec (nixos-images: kexec-run.sh).
const (
	handedAddresses = "/addrs.json"
	handedRoutes4   = "/routes-v4.json"
	handedRoutes6   = "/routes-v6.json"
)

// turn is how long DHCP and the addresses that were handed in are tried, by
// turns.
const turn = 20 * time.Second

// race brings the network up: as ip= says, else by DHCP, or with the addresses
// of the machine before where they were handed in and DHCP leads to nothing.
func (c *Connection) race(ctx context.Context, o Order) (*netup.Network, error) {
	options := netup.Options{
		Log: c.Log, Config: o.Config.Network, Watch: c.watch(o), UserClass: o.Config.UserClass, HostName: o.Config.HostName,
		Prove: func(ctx context.Context, l lease.Lease) error { return prove(ctx, o.Config, l) },
	}
	if len(options.Config.Entries) > 0 {
		return netup.Up(ctx, options)
	}
	found, err := readHanded(c.Root)
	if err != nil {
		c.log().Warn("the addresses that were handed in are of no use", "err", err)
	}
	if len(found.Entries) == 0 {
		return netup.Up(ctx, options)
	}
	other := options
	other.Config.Entries = append(found.Entries, ipparam.Entry{Text: "any", Method: ipparam.Any})
	other.Config.Routes = append(other.Config.Routes, found.Routes...)
	started := time.Now()
	for what, next := "DHCP", found.text(); ; what, next = next, what {
		network, err := upWithin(ctx, options, what)
		if err == nil || ctx.Err() != nil || fault.ClassOf(err) == fault.NoNIC && time.Since(started) >= time.Minute {
			return network, err
		}
		c.log().Warn(fmt.Sprintf("%s led to nothing within %v; now %s", what, turn, next))
		options, other = other, options
	}
}

// upWithin tries for one turn.
func upWithin(ctx context.Context, options netup.Options, what string) (*netup.Network, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turn, fmt.Errorf("%s led to nothing within %v", what, turn))
	defer cancel()
	return netup.Up(ctx, options)
}

// handed is what was handed in, in the operator's words.
type handed struct {
	Entries []ipparam.Entry
	Routes  []ipparam.Route
}

func (h handed) text() string {
	var words []string
	for _, e := range h.Entries {
		words = append(words, e.Addr.String())
	}
	return strings.Join(words, " ") + " of " + handedAddresses
}

func readHanded(root string) (handed, error) {
	var texts [3][]byte
	for i, file := range []string{handedAddresses, handedRoutes4, handedRoutes6} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return handed{}, err
		}
		texts[i] = text
	}
	if texts[0] == nil {
		return handed{}, nil
	}
	return parseHanded(texts[0], texts[1], texts[2])
}

// handedLink and handedRoute are what is read of ip's JSON (iproute2:
// ipaddress.c and iproute.c).
type handedLink struct {
	Name      string `json:"ifname"`
	Type      string `json:"link_type"`
	MAC       string `json:"address"`
	Addresses []struct {
		Scope, Local string
		Bits         int `json:"prefixlen"`
		Temporary    bool
		Deprecated   bool
		Tentative    bool
	} `json:"addr_info"`
}

type handedRoute struct {
	To      string `json:"dst"`
	Gateway string
	Device  string `json:"dev"`
}

// parseHanded returns a static address, with the default route of its
// family, for every global one that an Ethernet card had. Routes may be nil.
func parseHanded(addresses, routes4, routes6 []byte) (handed, error) {
	var links []handedLink
	if err := json.Unmarshal(addresses, &links); err != nil {
		return handed{}, fmt.Errorf("%s: %w", handedAddresses, err)
	}
	var routes []handedRoute
	for name, text := range map[string][]byte{handedRoutes4: routes4, handedRoutes6: routes6} {
		var some []handedRoute
		if err := json.Unmarshal(text, &some); err != nil && text != nil {
			return handed{}, fmt.Errorf("%s: %w", name, err)
		}
		routes = append(routes, some...)
	}
	var h handed
	for _, l := range links {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil || l.Type != "ether" || len(mac) != 6 {
			continue
		}
		link := "enx" + strings.ReplaceAll(mac.String(), ":", "")
		for _, a := range l.Addresses {
			addr, err := netip.ParseAddr(a.Local)
			if err != nil || a.Scope != "global" || a.Temporary || a.Deprecated || a.Tentative || !usable(addr) {
				continue
			}
			prefix := netip.PrefixFrom(addr, a.Bits)
			if !prefix.IsValid() {
				continue
			}
			h.Entries = append(h.Entries, ipparam.Entry{Text: "handed in", Link: link, Method: ipparam.Static, Addr: prefix, Gateway: gatewayOf(routes, l.Name, addr)})
		}
		h.Routes = append(h.Routes, routesOf(routes, l.Name, link)...)
	}
	return h, nil
}

func usable(a netip.Addr) bool {
	return a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && !a.Is4In6()
}

// gatewayOf is the gateway of the default route of an address's family, or
// none.
func gatewayOf(routes []handedRoute, device string, addr netip.Addr) netip.Addr {
	for _, r := range routes {
		gw, err := netip.ParseAddr(r.Gateway)
		if err == nil && r.To == "default" && r.Device == device && gw.Is4() == addr.Is4() {
			return gw.WithZone("")
		}
	}
	return netip.Addr{}
}

// routesOf are a device's routes by a gateway, but for the default ones.
func routesOf(routes []handedRoute, device, link string) []ipparam.Route {
	var all []ipparam.Route
	for _, r := range routes {
		dst, err := netip.ParsePrefix(r.To)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(r.To); err == nil {
				dst = netip.PrefixFrom(addr, addr.BitLen())
			}
		}
		gw, gerr := netip.ParseAddr(r.Gateway)
		if err == nil && gerr == nil && r.Device == device && dst.Addr().Is4() == gw.Is4() && dst.Bits() > 0 {
			all = append(all, ipparam.Route{Dst: dst.Masked(), Gateway: gw.WithZone(""), Link: link})
		}
	}
	return all
}
