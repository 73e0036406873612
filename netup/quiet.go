package netup

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sysctls are settings of a link as they were: file to value.
type sysctls map[string]string

// quiet keeps links on one subnet apart while several are up: each answers ARP
// only for its own addresses (arp_ignore, arp_announce in the kernel's
// ip-sysctl.rst), or replies arrive on a link whose socket is not waiting for
// them. Strict reverse path filtering would drop them too. For each of the
// three the kernel takes the larger of the value for all links and the link's.
func quiet(log *slog.Logger) sysctls {
	return set(log, "/proc/sys/net/ipv4/conf/all/", []sysctl{
		{"arp_ignore", "0", "1"}, {"arp_announce", "0", "2"}, {"rp_filter", "", "2"},
	})
}

// manual keeps the kernel from configuring IPv6 on a link by itself, and from
// waiting for duplicates of what is configured.
func manual(log *slog.Logger, name string) sysctls {
	return set(log, "/proc/sys/net/ipv6/conf/"+name+"/", []sysctl{
		{"accept_ra", "1", "0"}, {"accept_dad", "1", "0"}, {"addr_gen_mode", "0", "1"},
	})
}

// hasIPv6 reports whether a link can have IPv6 addresses.
func (n *Network) hasIPv6(name string) bool {
	off, err := readSetting("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6")
	if err != nil || off != "0" {
		n.log.Debug(fmt.Sprintf("%s: no IPv6: disable_ipv6 is %q, %v", name, off, err))
	}
	return err == nil && off == "0"
}

// setMTU6 sets the MTU that IPv6 alone has on a link, to that which a router
// said last, where mtu is 0.
func (n *Network) setMTU6(l *link, mtu int) {
	n.mu.Lock()
	if mtu != 0 {
		l.mtu6 = mtu
	}
	mtu = l.mtu6
	n.mu.Unlock()
	if mtu == 0 {
		return
	}
	whole, _ := readSetting(n.opts.Sysfs + "/class/net/" + l.name + "/mtu")
	if most, err := strconv.Atoi(whole); err == nil && mtu > most {
		mtu = most // what more there is the link can't send
	}
	n.log.Debug(fmt.Sprintf("%s: set IPv6's mtu %d", l.name, mtu))
	if err := writeSetting("/proc/sys/net/ipv6/conf/"+l.name+"/mtu", fmt.Sprint(mtu)); err != nil {
		n.log.Warn(fmt.Sprintf("%s: mtu %d from the router is refused: %v", l.name, mtu, err))
	}
}

// sysctl is a setting to be made where it has its default, or always when only
// is empty.
type sysctl struct{ key, only, value string }

// set returns what it changed, as it was.
func set(log *slog.Logger, dir string, list []sysctl) sysctls {
	kept := sysctls{}
	for _, s := range list {
		file := dir + s.key
		old, err := readSetting(file)
		if err != nil || s.only != "" && old != s.only || old == s.value {
			continue // no /proc yet, or someone chose a value
		}
		if err := writeSetting(file, s.value); err != nil {
			log.Debug(fmt.Sprintf("write %s: %v", s.value, err))
			continue
		}
		kept[file] = old
	}
	return kept
}

// readSetting reads a short file of /proc or /sys, in as few system calls as
// can be.
func readSetting(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", &os.PathError{Op: "read", Path: file, Err: err}
	}
	return strings.TrimSpace(string(b[:n])), nil
}

func writeSetting(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: file, Err: err}
	}
	return nil
}

func (k sysctls) restore(log *slog.Logger) {
	for file, old := range k {
		if err := writeSetting(file, old); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Debug(fmt.Sprintf("restore %v", err))
		}
	}
}

// release gives a link back: no addresses, no routes, its own settings, down.
func (n *Network) release(l *link) error {
	// Down first: the kernel then drops routes and IPv6 addresses at once, and
	// with its settings back it would give the link addresses again.
	var err error
	if n.winner == nil || !n.plan.carries(l, n.winner) {
		err = n.kernel.setDown(l.index, l.name)
	}
	l.kept6.restore(n.log)
	n.mu.Lock()
	configured, mtu := l.configured || !l.found.empty() || l.kept6 != nil, l.setMTU != 0
	n.mu.Unlock()
	if configured {
		err = errors.Join(err, n.kernel.flushAddrs(l.index, l.name, netlink.FAMILY_ALL))
	}
	if mtu {
		err = errors.Join(err, n.kernel.resetMTU(l.index, l.name, l.mtu))
	}
	return err
}
