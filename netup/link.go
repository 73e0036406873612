package netup

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LinkState is one row of the table of links.
type LinkState struct {
	Name      string
	Index     int
	MAC       net.HardwareAddr
	Driver    string // "" when unknown
	Carrier   bool
	OperState string        // as the kernel has it: up, down, dormant, …
	DHCP      string        // discovering, requesting, bound, …; "" before carrier
	Lease     string        // the address, when there is one
	Sent      int           // messages sent in this DHCP state
	Since     time.Duration // time since the last change of carrier or DHCP state
	Last      string        // the last event, for people
	Winner    bool
}

// String is the row as one line.
func (s LinkState) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	if s.Driver != "" {
		b.WriteString(" (" + s.Driver + ")")
	}
	fmt.Fprintf(&b, " %s: ", s.MAC)
	switch {
	case !s.Carrier:
		b.WriteString("no carrier")
	case s.Lease != "" && !s.Winner:
		b.WriteString(s.Lease + ", " + s.DHCP)
	case s.Lease != "":
		b.WriteString(s.Lease)
	case s.DHCP != "":
		b.WriteString(s.DHCP)
		if s.Sent > 1 {
			fmt.Fprintf(&b, ", %d sent", s.Sent)
		}
	default:
		b.WriteString("carrier")
	}
	fmt.Fprintf(&b, ", %d s", int(s.Since.Seconds()))
	if s.Last != "" {
		b.WriteString("; " + s.Last)
	}
	return b.String()
}

// candidate reports whether a link can lead to a network by itself: Ethernet,
// a device or a veth end or asked for, no loopback, nobody's slave (a virtio failover pair
// or a bridge uses its slaves itself).
func (p plan) candidate(l netlink.Link) bool {
	a := l.Attrs()
	if a.EncapType != "ether" || a.RawFlags&unix.IFF_LOOPBACK != 0 || a.MasterIndex != 0 || len(a.HardwareAddr) != 6 {
		return false
	}
	switch l.Type() {
	case "", "device", "veth", "dsa":
	case "vlan", "bond":
		return p.stacked(a.Name) == l.Type()
	default:
		return false
	}
	return true
}

// wireless links need credentials to lead anywhere.
func wireless(l netlink.Link, sysfs string) bool {
	dir := filepath.Join(sysfs, "class/net", l.Attrs().Name)
	for _, f := range []string{"wireless", "phy80211"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
			return true
		}
	}
	return false
}

// carrier reports whether frames sent now leave the machine. Running without
// lower-up is a dormant port; lower-up without running is a link whose queue
// the kernel may not have started, which would lose the first DISCOVER, unless
// it is known to have been set up with its carrier there.
func carrier(l netlink.Link, started bool) bool {
	want := uint32(unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING)
	if started {
		want &^= unix.IFF_RUNNING
	}
	return l.Attrs().RawFlags&want == want
}

// driverOf names the driver of a link, "" when unknown. A link without a device
// has its kind instead.
func driverOf(l netlink.Link, sysfs string) string {
	if t, err := os.Readlink(filepath.Join(sysfs, "class/net", l.Attrs().Name, "device/driver")); err == nil {
		return filepath.Base(t)
	}
	if kind := l.Type(); kind != "device" {
		return kind
	}
	return ""
}

// carrierChanges counts how often a link's carrier came and went. The kernel
// merges quick changes into one notification; the count tells.
func carrierChanges(name, sysfs string) (int, bool) {
	s, err := readSetting(filepath.Join(sysfs, "class/net", name, "carrier_changes"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
