package ipcmd

import (
	"fmt"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (c *command) routeShow() error {
	only, err := c.devFilter()
	if err != nil {
		return err
	}
	family := c.family
	if family == netlink.FAMILY_ALL {
		family = netlink.FAMILY_V4 // as iproute2
	}
	routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(only, family) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		c.printRoute(r)
	}
	return nil
}

func (c *command) printRoute(r netlink.Route) {
	dst := "default"
	if r.Dst != nil {
		if ones, _ := r.Dst.Mask.Size(); ones > 0 || !r.Dst.IP.IsUnspecified() {
			dst = r.Dst.String()
		}
	}
	if r.Type != unix.RTN_UNICAST && r.Type != 0 {
		dst = typeName(r.Type) + " " + dst
	}
	fmt.Fprint(c.out, dst)
	if r.Gw != nil {
		fmt.Fprintf(c.out, " via %s", r.Gw)
	}
	fmt.Fprintf(c.out, " dev %s", linkName(r.LinkIndex))
	if r.Protocol != 0 {
		fmt.Fprintf(c.out, " proto %s", r.Protocol)
	}
	if r.Scope == netlink.SCOPE_LINK {
		fmt.Fprint(c.out, " scope link")
	}
	if r.Src != nil {
		fmt.Fprintf(c.out, " src %s", r.Src)
	}
	if r.Priority != 0 {
		fmt.Fprintf(c.out, " metric %d", r.Priority)
	}
	if r.Flags&unix.RTNH_F_LINKDOWN != 0 {
		fmt.Fprint(c.out, " linkdown")
	}
	fmt.Fprintln(c.out)
}

func typeName(t int) string {
	switch t {
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BROADCAST:
		return "broadcast"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	}
	return fmt.Sprint(t)
}

func linkName(index int) string {
	if l, err := netlink.LinkByIndex(index); err == nil {
		return l.Attrs().Name
	}
	return fmt.Sprintf("if%d", index)
}

// routeSpec reads "DST [via ADDR] [dev LINK] [metric N] [src ADDR]".
func (c *command) routeSpec() (*netlink.Route, error) {
	dst, err := c.next("DST")
	if err != nil {
		return nil, err
	}
	r := &netlink.Route{}
	if dst != "default" {
		n, err := parsePrefix(dst)
		if err != nil {
			return nil, err
		}
		r.Dst = &net.IPNet{IP: n.IP.Mask(n.Mask), Mask: n.Mask}
	}
	for len(c.args) > 0 {
		word, _ := c.next("")
		value, err := c.next("value of " + word)
		if err != nil {
			return nil, err
		}
		if err := setRoute(r, word, value); err != nil {
			return nil, err
		}
	}
	if r.Gw == nil {
		r.Scope = netlink.SCOPE_LINK
		if r.Dst == nil {
			all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
			if c.family == netlink.FAMILY_V6 {
				all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
			}
			r.Dst = all
		}
		if r.Dst.IP.To4() == nil {
			r.Scope = netlink.SCOPE_UNIVERSE
		}
	}
	return r, nil
}

func setRoute(r *netlink.Route, word, value string) error {
	switch word {
	case "dev":
		l, err := linkByName(value)
		if err != nil {
			return err
		}
		r.LinkIndex = l.Attrs().Index
	case "via", "src":
		ip := net.ParseIP(value)
		if ip == nil {
			return fmt.Errorf("%w: %s: %q is no address", errUsage, word, value)
		}
		if word == "via" {
			r.Gw = ip
		} else {
			r.Src = ip
		}
	case "metric":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%w: metric: %q is no number", errUsage, value)
		}
		r.Priority = n
	default:
		return fmt.Errorf("%w: unknown word %q", errUsage, word)
	}
	return nil
}

func (c *command) routeAdd() error     { return c.routeDo("add", netlink.RouteAdd) }
func (c *command) routeReplace() error { return c.routeDo("replace", netlink.RouteReplace) }
func (c *command) routeDel() error     { return c.routeDo("delete", netlink.RouteDel) }

func (c *command) routeDo(what string, do func(*netlink.Route) error) error {
	r, err := c.routeSpec()
	if err != nil {
		return err
	}
	switch {
	case what == "delete" && r.Gw == nil:
		r.Scope = netlink.SCOPE_NOWHERE // any
	case r.Gw == nil && r.LinkIndex == 0:
		return fmt.Errorf("%w: via ADDR or dev LINK missing", errUsage)
	}
	if err := do(r); err != nil {
		return fmt.Errorf("%s route %s: %w", what, r, err)
	}
	return nil
}

func (c *command) routeGet() error {
	s, err := c.next("ADDR")
	if err != nil {
		return err
	}
	ip := net.ParseIP(s)
	if ip == nil {
		return fmt.Errorf("%w: %q is no address", errUsage, s)
	}
	routes, err := netlink.RouteGet(ip)
	if err != nil {
		return fmt.Errorf("route to %s: %w", ip, err)
	}
	for _, r := range routes {
		c.printRoute(r)
	}
	return nil
}

func (c *command) neighShow() error {
	only, err := c.devFilter()
	if err != nil {
		return err
	}
	index := 0
	if only != nil {
		index = only.Attrs().Index
	}
	list, err := dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(index, c.family) })
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range list {
		if n.State == unix.NUD_NOARP || n.IP == nil || !c.wants(n.IP) {
			continue
		}
		fmt.Fprintf(c.out, "%s dev %s", n.IP, linkName(n.LinkIndex))
		if len(n.HardwareAddr) > 0 {
			fmt.Fprintf(c.out, " lladdr %s", n.HardwareAddr)
		}
		fmt.Fprintf(c.out, " %s\n", neighState(n.State))
	}
	return nil
}

func neighState(s int) string {
	for _, n := range []struct {
		bit  int
		name string
	}{
		{unix.NUD_PERMANENT, "PERMANENT"}, {unix.NUD_REACHABLE, "REACHABLE"}, {unix.NUD_STALE, "STALE"}, {unix.NUD_DELAY, "DELAY"},
		{unix.NUD_PROBE, "PROBE"}, {unix.NUD_FAILED, "FAILED"}, {unix.NUD_INCOMPLETE, "INCOMPLETE"},
	} {
		if s&n.bit != 0 {
			return n.name
		}
	}
	return "NONE"
}
