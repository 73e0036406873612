package rtnl

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// PredictableNames are the names that systemd.net-naming-scheme(7) has for a
// link's device, as far as sysfs tells: by its MAC, on board, by slot and by
// path.
func PredictableNames(name string, mac net.HardwareAddr, sysfs string) []string {
	var out []string
	if len(mac) == 6 {
		out = append(out, "enx"+strings.ReplaceAll(mac.String(), ":", ""))
	}
	link := filepath.Join(sysfs, "class/net", name)
	dir, usb, ok := pciDevice(link, sysfs)
	if !ok {
		return out
	}
	port := portOf(link)
	for _, file := range []string{"acpi_index", "index"} {
		if n, err := ReadSetting(filepath.Join(dir, file)); err == nil && n != "0" && usb == "" {
			out = append(out, "eno"+n+port)
			break
		}
	}
	at, ok := pciAddress(filepath.Base(dir))
	if !ok {
		return out
	}
	domain, function := "", ""
	if at.domain > 0 {
		domain = fmt.Sprintf("P%d", at.domain)
	}
	if at.function > 0 || multifunction(dir) {
		function = fmt.Sprintf("f%d", at.function)
	}
	if slot := slotOf(dir, sysfs); slot != "" {
		out = append(out, "en"+domain+"s"+slot+function+usb+port)
	}
	return append(out, fmt.Sprintf("en%sp%ds%d%s%s%s", domain, at.bus, at.slot, function, usb, port))
}

// pciDevice is the folder of the PCI device that a link's device is or that
// carries it, as of a virtio or USB one, and the part of a name that tells the
// ports of a USB controller apart.
func pciDevice(link, sysfs string) (dir, usb string, ok bool) {
	if _, err := os.Readlink(filepath.Join(link, "device")); err != nil {
		return "", "", false
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(link, "device"))
	if err != nil {
		return "", "", false
	}
	if bus(dir) == "usb" {
		if usb = usbPath(filepath.Base(dir)); usb == "" {
			return "", "", false
		}
	}
	for bus(dir) != "pci" {
		if dir = filepath.Dir(dir); dir == "/" || dir == "." || len(dir) <= len(sysfs) {
			return "", "", false
		}
	}
	return dir, usb, true
}

// bus is that of a device; "" is none.
func bus(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "subsystem"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

type pciPlace struct{ domain, bus, slot, function uint64 }

var pciName = regexp.MustCompile(`^([0-9a-f]{4,}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-9a-f])$`)

// pciAddress reads a PCI device's address, such as 0000:00:03.0.
func pciAddress(s string) (p pciPlace, ok bool) {
	m := pciName.FindStringSubmatch(s)
	if m == nil {
		return p, false
	}
	for i, to := range []*uint64{&p.domain, &p.bus, &p.slot, &p.function} {
		*to, _ = strconv.ParseUint(m[i+1], 16, 32)
	}
	return p, true
}

// multifunction reports whether a PCI device is one of several at its address,
// by the header type in its configuration space.
func multifunction(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "config"))
	if err != nil {
		return false
	}
	defer f.Close()
	var b [64]byte
	n, _ := f.Read(b[:])
	return n == len(b) && b[0x0e]&0x80 != 0
}

// slotOf is the number of the hotplug slot that a PCI device, or the bridge
// that leads to it, sits in; "" when there is none.
func slotOf(dir, sysfs string) string {
	slots, err := os.ReadDir(filepath.Join(sysfs, "bus/pci/slots"))
	if err != nil {
		return ""
	}
	for ; bus(dir) == "pci"; dir = filepath.Dir(dir) {
		for _, s := range slots {
			n, err := strconv.ParseUint(s.Name(), 10, 32)
			if err != nil || n == 0 {
				continue
			}
			address, err := ReadSetting(filepath.Join(sysfs, "bus/pci/slots", s.Name(), "address"))
			if err == nil && address != "" && strings.HasPrefix(filepath.Base(dir), address+".") {
				return s.Name()
			}
		}
	}
	return ""
}

// usbPath turns an interface such as 1-2.3:1.0 into the u2u3 of a name; a
// configuration and an interface that are the usual ones are left out.
func usbPath(s string) string {
	_, ports, ok := strings.Cut(s, "-")
	if !ok {
		return ""
	}
	ports, rest, _ := strings.Cut(ports, ":")
	out := "u" + strings.ReplaceAll(ports, ".", "u")
	config, face, _ := strings.Cut(rest, ".")
	if config != "1" && config != "" {
		out += "c" + config
	}
	if face != "0" && face != "" {
		out += "i" + face
	}
	return out
}

// portOf is the part of a name that tells ports of one device apart.
func portOf(link string) string {
	if port, err := ReadSetting(filepath.Join(link, "phys_port_name")); err == nil && port != "" {
		return "n" + port
	}
	if port, err := ReadSetting(filepath.Join(link, "dev_port")); err == nil && port != "0" && port != "" {
		return "d" + port
	}
	return ""
}
