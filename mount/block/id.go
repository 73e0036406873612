package block

import (
	"fmt"
	"strings"
)

// idKinds begin the names of /dev/disk/by-id that sysfs alone tells. For the
// others (ata-, scsi-, usb-) udev asks the disk itself.
var idKinds = []string{"virtio-", "nvme-", "wwn-"}

func knownID(name string) bool {
	for _, kind := range idKinds {
		if strings.HasPrefix(name, kind) {
			return true
		}
	}
	return false
}

// idsOf are a disk's names in /dev/disk/by-id, of one of its partitions where
// number is not 0 (systemd: rules.d/60-persistent-storage.rules). disk is its
// folder in sysfs.
func idsOf(disk string, number int) []string {
	var ids []string
	add := func(kind, id string) {
		if id == "" {
			return
		}
		if number != 0 {
			id += fmt.Sprintf("-part%d", number)
		}
		ids = append(ids, kind+id)
	}
	add("virtio-", udevName(attribute(disk, "serial")))
	wwid := attribute(disk, "wwid")
	if wwid == "" {
		wwid = attribute(disk, "device/wwid")
	}
	kind, id, _ := strings.Cut(wwid, ".")
	model, serial := udevName(attribute(disk, "device/model")), udevName(attribute(disk, "device/serial"))
	switch isNVMe := serial != "" && attribute(disk, "nsid") != ""; {
	case isNVMe:
		add("nvme-", udevName(wwid))
		add("nvme-", model+"_"+serial)
		add("nvme-", model+"_"+serial+"_"+attribute(disk, "nsid"))
	case kind == "naa", kind == "eui":
		add("wwn-", "0x"+id)
	}
	return ids
}

// udevName is what udev makes of a disk's text for a file name.
func udevName(s string) string {
	s = strings.Join(strings.Fields(s), "_")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("#+-.:=@_", r) {
			return r
		}
		return '_'
	}, s)
}
