package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/modindex"
)

// MissingDriver is a network device that no driver has taken.
type MissingDriver struct {
	Bus      string // pci, usb, virtio, vmbus, xen
	Device   string // its name on the bus: 0000:00:03.0
	ID       string // vendor:device in hex on PCI and USB, else as the bus has it
	Modalias string
	Modules  []string // what the index has for it, empty when nothing
	Lost     []string // of their files those that are not there
	Starting []string // of them those that have been started, and have not come to an end
	Unpacked []string // what the kernel has for it besides, see modindex.UnpackedFile
	Refusal  string   // why its driver did not take it, where the kernel log says so
}

// String is a line for the operator: the device, and what to do.
func (m MissingDriver) String() string {
	s := fmt.Sprintf("%s device %s [%s] has no driver: ", m.Bus, m.Device, m.ID)
	switch {
	case len(m.Starting) > 0:
		return s + strings.Join(m.Starting, " and ") + " is still starting"
	case len(m.Lost) > 0:
		return s + "the initrd's index names " + strings.Join(m.Lost, " and ") + ", which is missing; pack the initrd again"
	case len(m.Modules) > 0 && m.Refusal != "":
		return s + strings.Join(m.Modules, " or ") + " should drive it and does not: " + m.Refusal
	case len(m.Modules) > 0:
		return s + strings.Join(m.Modules, " or ") + " should drive it and does not (dmesg says why)"
	case len(m.Unpacked) > 0:
		return s + "pack " + strings.Join(m.Unpacked, " or ") + " into the initrd (--module " + m.Unpacked[0] + ")"
	}
	return s + "this kernel has none for it, or it is not in the initrd"
}

// networkBuses says how a network device is told from others on each bus, and
// which attributes make its id. On the buses without an attribute, and for what
// a prefix in doubt says, only a driver of the index tells.
var networkBuses = [...]struct {
	bus, attr, prefix, doubt string
	id                       []string
}{
	// PCI class 02, network controller; 02 80, any other kind of it, is wireless nearly always.
	{"pci", "class", "0x02", "0x0280", []string{"vendor", "device"}},
	{"usb", "", "", "", []string{"../idVendor", "../idProduct"}}, // of interfaces; devices have no modalias
	{"virtio", "device", "0x0001", "", []string{"vendor", "device"}},
	{"vmbus", "class_id", "{f8615163-df3e-46c5-913f-f2d2f965ed0e}", "", []string{"class_id"}}, // HV_NIC_GUID, linux/hyperv.h
	{"xen", "devtype", "vif", "", []string{"devtype"}},
}

// NetworkBuses are the buses on which MissingDrivers looks.
var NetworkBuses = []string{"pci", "usb", "virtio", "vmbus", "xen"}

// MissingDrivers returns the network devices that sysfs shows without a
// driver, with what the index has for them. sysfs is where sysfs is mounted.
func MissingDrivers(ix *modindex.Index, sysfs string) []MissingDriver {
	var all []MissingDriver
	buf := make([]byte, 4096)
	for _, b := range networkBuses {
		dir := filepath.Join(sysfs, "bus", b.bus, "devices")
		devices, _ := readNames(dir)
		for _, d := range devices {
			at := filepath.Join(dir, d)
			kind := ""
			if b.attr != "" {
				kind = readSmall(at+"/"+b.attr, buf)
			}
			if !strings.HasPrefix(kind, b.prefix) || bound(at) {
				continue
			}
			m := MissingDriver{Bus: b.bus, Device: d, Modalias: readSmall(at+"/modalias", buf)}
			if m.Modalias != "" {
				m.Unpacked = ix.Unpacked(m.Modalias)
				if b.attr != "" {
					m.Modules, _ = ix.Lookup(m.Modalias)
					m.Lost = lost(ix, m.Modules)
				}
			}
			sure := b.attr != "" && (b.doubt == "" || !strings.HasPrefix(kind, b.doubt))
			if !sure && len(m.Modules)+len(m.Unpacked) == 0 {
				continue
			}
			for i, attr := range b.id {
				if i > 0 {
					m.ID += ":"
				}
				m.ID += strings.TrimPrefix(readSmall(at+"/"+attr, buf), "0x")
			}
			all = append(all, m)
		}
	}
	return all
}

// lost are the files that modules would be loaded from and that are not there:
// their own, and those of what they need.
func lost(ix *modindex.Index, modules []string) []string {
	var files []string
	for _, m := range modules {
		for _, name := range append(ix.Depends(m), m) {
			path, _ := ix.Path(name)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !slices.Contains(files, path) {
				files = append(files, path)
			}
		}
	}
	return files
}
