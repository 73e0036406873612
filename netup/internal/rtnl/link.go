package rtnl

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Candidate reports whether a link can lead to a network by itself: Ethernet, a
// device or a veth end or what was asked for as a kind, no loopback, nobody's
// slave (a virtio failover pair or a bridge uses its slaves itself).
func Candidate(l netlink.Link, asked string) bool {
	a := l.Attrs()
	if a.EncapType != "ether" || a.RawFlags&unix.IFF_LOOPBACK != 0 || a.MasterIndex != 0 || len(a.HardwareAddr) != 6 {
		return false
	}
	switch l.Type() {
	case "", "device", "veth", "dsa":
	case "vlan", "bond":
		return asked == l.Type()
	default:
		return false
	}
	return true
}

// Unsupported says why a link is of no use whatever it leads to; "" is that it
// may be of use.
func Unsupported(l netlink.Link, sysfs string) string {
	if l.Attrs().EncapType == "infiniband" {
		return "InfiniBand is not supported, an adapter's Ethernet mode is"
	}
	if l.Type() != "device" {
		return ""
	}
	dir := filepath.Join(sysfs, "class/net", l.Attrs().Name)
	for _, f := range []string{"wireless", "phy80211"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
			return "wireless is not supported: it takes credentials"
		}
	}
	return ""
}

// Carrier reports whether frames sent now leave the machine. Running without
// lower-up is a dormant port; lower-up without running is a link whose queue
// the kernel may not have started, which would lose the first DISCOVER, unless
// it is known to have been set up with its carrier there.
func Carrier(l netlink.Link, started bool) bool {
	want := uint32(unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING)
	if started {
		want &^= unix.IFF_RUNNING
	}
	return l.Attrs().RawFlags&want == want
}

// Driver names the driver of a link, "" when unknown. A link without a device
// has its kind instead.
func Driver(name, kind, sysfs string) string {
	if t, err := os.Readlink(filepath.Join(sysfs, "class/net", name, "device/driver")); err == nil {
		return filepath.Base(t)
	}
	if kind != "device" {
		return kind
	}
	return ""
}

// Place is where a link's device sits.
type Place struct{ Bus, Device, ID string }

// Bus finds the place of a link's device; of a virtio device it is that of
// the PCI card that carries it. It is zero for a link without a device.
func Bus(name, sysfs string) Place {
	dir := filepath.Join(sysfs, "class/net", name, "device")
	if _, err := os.Readlink(dir); err != nil {
		return Place{}
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Place{}
	}
	var p Place
	for {
		bus, err := os.Readlink(filepath.Join(dir, "subsystem"))
		if err != nil {
			return p
		}
		p.Bus, p.Device = filepath.Base(bus), filepath.Base(dir)
		if p.Bus != "virtio" {
			break
		}
		dir = filepath.Dir(dir)
	}
	if p.Bus == "pci" {
		vendor, _ := ReadSetting(filepath.Join(dir, "vendor"))
		device, _ := ReadSetting(filepath.Join(dir, "device"))
		p.ID = strings.TrimPrefix(vendor, "0x") + ":" + strings.TrimPrefix(device, "0x")
	}
	return p
}

// CarrierChanges counts how often a link's carrier came and went. The kernel
// merges quick changes into one notification; the count tells.
func CarrierChanges(name, sysfs string) (int, bool) {
	s, err := ReadSetting(filepath.Join(sysfs, "class/net", name, "carrier_changes"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// Speed is what a link runs at, in Mb/s; 0 where the driver does not tell.
func Speed(name, sysfs string) int {
	s, err := ReadSetting(filepath.Join(sysfs, "class/net", name, "speed"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(s)
	return max(n, 0)
}
