package ipcmd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (c *command) links() ([]netlink.Link, error) {
	only, err := c.devFilter()
	if err != nil {
		return nil, err
	}
	if only != nil {
		return []netlink.Link{only}, nil
	}
	return dump(netlink.LinkList)
}

func (c *command) linkShow() error {
	links, err := c.links()
	if err != nil {
		return err
	}
	for _, l := range links {
		c.printLink(l)
	}
	return nil
}

var flagNames = []struct {
	bit  uint32
	name string
}{
	{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"},
	{unix.IFF_MULTICAST, "MULTICAST"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_PROMISC, "PROMISC"},
	{unix.IFF_UP, "UP"}, {unix.IFF_LOWER_UP, "LOWER_UP"},
}

func (c *command) printLink(l netlink.Link) {
	a := l.Attrs()
	var flags []string
	if a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP == 0 {
		flags = append(flags, "NO-CARRIER")
	}
	for _, f := range flagNames {
		if a.RawFlags&f.bit != 0 {
			flags = append(flags, f.name)
		}
	}
	fmt.Fprintf(c.out, "%d: %s: <%s> mtu %d state %s\n", a.Index, a.Name, strings.Join(flags, ","), a.MTU, strings.ToUpper(a.OperState.String()))
	fmt.Fprintf(c.out, "    link/%s %s\n", a.EncapType, a.HardwareAddr)
}

func (c *command) linkSet() error {
	name, err := c.next("LINK")
	if err == nil && name == "dev" {
		name, err = c.next("LINK")
	}
	if err != nil {
		return err
	}
	if len(c.args) == 0 {
		return fmt.Errorf("%w: nothing to set", errUsage)
	}
	l, err := linkByName(name)
	if err != nil {
		return err
	}
	for len(c.args) > 0 {
		what, _ := c.next("")
		if err := c.setOne(l, what); err != nil {
			return fmt.Errorf("link %s: set %s: %w", name, what, err)
		}
	}
	return nil
}

func (c *command) setOne(l netlink.Link, what string) error {
	switch what {
	case "up":
		return netlink.LinkSetUp(l)
	case "down":
		return netlink.LinkSetDown(l)
	case "mtu", "address", "name":
	default:
		return fmt.Errorf("%w: unknown word", errUsage)
	}
	value, err := c.next("value")
	if err != nil {
		return err
	}
	switch what {
	case "mtu":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%w: %q is no number", errUsage, value)
		}
		return netlink.LinkSetMTU(l, n)
	case "address":
		mac, err := net.ParseMAC(value)
		if err != nil {
			return fmt.Errorf("%w: %q is no hardware address", errUsage, value)
		}
		return netlink.LinkSetHardwareAddr(l, mac)
	}
	return netlink.LinkSetName(l, value)
}

func (c *command) addrShow() error {
	links, err := c.links()
	if err != nil {
		return err
	}
	for _, l := range links {
		addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, c.family) })
		if err != nil {
			return fmt.Errorf("link %s: list addresses: %w", l.Attrs().Name, err)
		}
		if c.family != netlink.FAMILY_ALL && len(addrs) == 0 {
			continue
		}
		c.printLink(l)
		for _, a := range addrs {
			c.printAddr(a)
		}
	}
	return nil
}

func (c *command) printAddr(a netlink.Addr) {
	family := "inet6"
	if a.IP.To4() != nil {
		family = "inet"
	}
	fmt.Fprintf(c.out, "    %s %s", family, a.IPNet)
	if a.Broadcast != nil {
		fmt.Fprintf(c.out, " brd %s", a.Broadcast)
	}
	fmt.Fprintf(c.out, " scope %s", scopeName(netlink.Scope(a.Scope)))
	for _, f := range []struct {
		bit  int
		name string
	}{{unix.IFA_F_TENTATIVE, "tentative"}, {unix.IFA_F_DADFAILED, "dadfailed"}, {unix.IFA_F_DEPRECATED, "deprecated"}} {
		if a.Flags&f.bit != 0 {
			fmt.Fprint(c.out, " "+f.name)
		}
	}
	fmt.Fprintf(c.out, "\n       valid_lft %s preferred_lft %s\n", lifetime(a.ValidLft), lifetime(a.PreferedLft))
}

func lifetime(s int) string {
	if s == 0xffffffff {
		return "forever"
	}
	return fmt.Sprintf("%dsec", s)
}

// addrDev reads "PREFIX [brd ADDR] dev LINK".
func (c *command) addrDev() (netlink.Link, *netlink.Addr, error) {
	s, err := c.next("PREFIX")
	if err != nil {
		return nil, nil, err
	}
	n, err := parsePrefix(s)
	if err != nil {
		return nil, nil, err
	}
	a := &netlink.Addr{IPNet: n}
	if len(c.args) > 1 && (c.args[0] == "brd" || c.args[0] == "broadcast") {
		if a.Broadcast = net.ParseIP(c.args[1]); a.Broadcast == nil && c.args[1] != "+" {
			return nil, nil, fmt.Errorf("%w: %q is no address", errUsage, c.args[1])
		}
		c.args = c.args[2:]
	}
	l, err := c.dev()
	return l, a, err
}

func (c *command) addrAdd() error {
	l, a, err := c.addrDev()
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return fmt.Errorf("link %s: add %s: %w", l.Attrs().Name, a.IPNet, err)
	}
	return nil
}

func (c *command) addrDel() error {
	l, a, err := c.addrDev()
	if err != nil {
		return err
	}
	// The kernel compares the broadcast address too, when one is named.
	if a.Broadcast == nil && a.IP.To4() != nil {
		a.Broadcast = net.IPv4zero
	}
	if err := netlink.AddrDel(l, a); err != nil {
		return fmt.Errorf("link %s: delete %s: %w", l.Attrs().Name, a.IPNet, err)
	}
	return nil
}

func (c *command) addrFlush() error {
	l, err := c.dev()
	if err != nil {
		return err
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, c.family) })
	if err != nil {
		return err
	}
	var errs []error
	for i := range addrs {
		errs = append(errs, netlink.AddrDel(l, &addrs[i]))
	}
	return errors.Join(errs...)
}
