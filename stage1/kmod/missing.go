package kmod

import (
	"fmt"
	"path/filepath"
	"strings"
)

// MissingDriver is a network device that no driver has taken.
type MissingDriver struct {
	Bus      string // pci, virtio, vmbus, xen
	Device   string // its name on the bus: 0000:00:03.0
	ID       string // vendor:device in hex on PCI, else as the bus has it
	Modalias string
	Modules  []string // what the index has for it, empty when nothing
}

// String is a line for the operator: the device, and what to do.
func (m MissingDriver) String() string {
	s := fmt.Sprintf("%s device %s [%s] has no driver: ", m.Bus, m.Device, m.ID)
	if len(m.Modules) == 0 {
		return s + "no module here drives it, pack one into the initrd"
	}
	return s + strings.Join(m.Modules, " or ") + " should drive it and does not (dmesg says why)"
}

// networkBuses says how a network device is told from others on each bus, and
// which attributes make its id.
var networkBuses = [...]struct {
	bus, attr, prefix string
	id                []string
}{
	{"pci", "class", "0x02", []string{"vendor", "device"}}, // PCI class 02, network controller
	{"virtio", "device", "0x0001", []string{"vendor", "device"}},
	{"vmbus", "class_id", "{f8615163-df3e-46c5-913f-f2d2f965ed0e}", []string{"class_id"}}, // HV_NIC_GUID, linux/hyperv.h
	{"xen", "devtype", "vif", []string{"devtype"}},
}

// MissingDrivers returns the network devices that sysfs shows without a
// driver. sysfs is where sysfs is mounted.
func (ix *Index) MissingDrivers(sysfs string) []MissingDriver {
	var all []MissingDriver
	buf := make([]byte, 4096)
	for _, b := range networkBuses {
		dir := filepath.Join(sysfs, "bus", b.bus, "devices")
		devices, _ := readNames(dir)
		for _, d := range devices {
			at := filepath.Join(dir, d)
			if !strings.HasPrefix(readSmall(at+"/"+b.attr, buf), b.prefix) || bound(at) {
				continue
			}
			m := MissingDriver{Bus: b.bus, Device: d, Modalias: readSmall(at+"/modalias", buf)}
			for i, attr := range b.id {
				if i > 0 {
					m.ID += ":"
				}
				m.ID += strings.TrimPrefix(readSmall(at+"/"+attr, buf), "0x")
			}
			if m.Modalias != "" {
				m.Modules, _ = ix.Lookup(m.Modalias)
			}
			all = append(all, m)
		}
	}
	return all
}
