// Package ipcmd is a small ip(8) and ping(8) for a debug shell: the words,
// abbreviations and output people know from iproute2, on rtnetlink.
package ipcmd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const usage = `usage: ip [-4|-6] addr  [show [dev LINK]] | add PREFIX dev LINK | del PREFIX dev LINK | flush dev LINK
       ip link  [show [LINK]] | set LINK [up|down] [mtu N] [address MAC] [name NAME]
       ip [-4|-6] route [show [dev LINK]] | add|replace|del DST [via ADDR] [dev LINK] [metric N] [src ADDR] | get ADDR
       ip [-4|-6] neigh [show [dev LINK]]
`

// errUsage is answered with the usage text.
var errUsage = errors.New("usage")

// command is one run of ip.
type command struct {
	out    io.Writer
	family int // netlink.FAMILY_ALL, _V4 or _V6
	args   []string
}

// Main runs ip with the arguments that follow its name. It returns the exit
// status: 0, 1 when the kernel or a name refuses, 2 for a mistake in the words.
func Main(args []string, stdout, stderr io.Writer) int {
	c := &command{out: stdout, family: netlink.FAMILY_ALL}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-4":
			c.family = netlink.FAMILY_V4
		case "-6":
			c.family = netlink.FAMILY_V6
		case "-h", "-help", "--help":
			io.WriteString(stdout, usage)
			return 0
		default:
			fmt.Fprintf(stderr, "ip: unknown option %s\n%s", args[0], usage)
			return 2
		}
		args = args[1:]
	}
	err := c.run(args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		if err != errUsage {
			fmt.Fprintf(stderr, "ip: %v\n", err)
		}
		io.WriteString(stderr, usage)
		return 2
	}
	fmt.Fprintf(stderr, "ip: %v\n", err)
	return 1
}

func (c *command) run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	object, verb := args[0], "show"
	if len(args) > 1 {
		verb, c.args = args[1], args[2:]
	}
	for _, o := range []struct {
		name  string
		verbs []action
	}{
		{"address", []action{{"show", c.addrShow}, {"list", c.addrShow}, {"add", c.addrAdd}, {"delete", c.addrDel}, {"flush", c.addrFlush}}},
		{"link", []action{{"show", c.linkShow}, {"list", c.linkShow}, {"set", c.linkSet}}},
		{"route", []action{{"show", c.routeShow}, {"list", c.routeShow}, {"add", c.routeAdd}, {"replace", c.routeReplace}, {"delete", c.routeDel}, {"get", c.routeGet}}},
		{"neighbour", []action{{"show", c.neighShow}, {"list", c.neighShow}}},
		{"neighbor", []action{{"show", c.neighShow}, {"list", c.neighShow}}},
	} {
		if !strings.HasPrefix(o.name, object) {
			continue
		}
		for _, v := range o.verbs {
			if strings.HasPrefix(v.name, verb) {
				return v.run()
			}
		}
		return fmt.Errorf("%w: ip %s has no %q", errUsage, o.name, verb)
	}
	return fmt.Errorf("%w: no object %q", errUsage, object)
}

type action struct {
	name string
	run  func() error
}

// next takes one word.
func (c *command) next(what string) (string, error) {
	if len(c.args) == 0 {
		return "", fmt.Errorf("%w: %s missing", errUsage, what)
	}
	w := c.args[0]
	c.args = c.args[1:]
	return w, nil
}

// devFilter reads "[dev] LINK" where a listing allows it; nil is every link.
func (c *command) devFilter() (netlink.Link, error) {
	if len(c.args) == 0 {
		return nil, nil
	}
	return c.dev()
}

// dev reads "[dev] LINK", which must be there and be the last words.
func (c *command) dev() (netlink.Link, error) {
	name, err := c.next("dev LINK")
	if err == nil && name == "dev" {
		name, err = c.next("LINK")
	}
	if err != nil {
		return nil, err
	}
	if len(c.args) > 0 {
		return nil, fmt.Errorf("%w: %q is too much", errUsage, c.args[0])
	}
	return linkByName(name)
}

func linkByName(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return l, nil
}

// dump repeats a listing that was disturbed by a change.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for tries := 0; ; tries++ {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || tries == 20 {
			return out, err
		}
	}
}

// parsePrefix reads an address with or without a prefix length.
func parsePrefix(s string) (*net.IPNet, error) {
	if !strings.Contains(s, "/") {
		ip := net.ParseIP(s)
		if ip == nil {
			return nil, fmt.Errorf("%w: %q is no address", errUsage, s)
		}
		if v4 := ip.To4(); v4 != nil {
			return &net.IPNet{IP: v4, Mask: net.CIDRMask(32, 32)}, nil
		}
		return &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}, nil
	}
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is no address with a prefix length", errUsage, s)
	}
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return &net.IPNet{IP: ip, Mask: n.Mask}, nil
}

func (c *command) wants(ip net.IP) bool {
	switch c.family {
	case netlink.FAMILY_V4:
		return ip.To4() != nil
	case netlink.FAMILY_V6:
		return ip.To4() == nil
	}
	return true
}

func scopeName(s netlink.Scope) string {
	switch uint8(s) {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return fmt.Sprint(uint8(s))
}
