package reporting

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"netstage/stage1/report"
)

// machine is what tells this machine from others: the firmware's words
// (Documentation/ABI/testing/sysfs-firmware-dmi-tables, or those of a device
// tree) and its network cards.
func (r *Record) machine() report.Machine {
	if r.hardware == nil {
		m := firmwareAt(r.Root)
		r.hardware = &m
	}
	m := *r.hardware
	m.MACs = cardsAt(r.Root)
	m.Hostname = r.Network.Host()
	return m
}

func machineAt(root string) report.Machine {
	m := firmwareAt(root)
	m.MACs = cardsAt(root)
	return m
}

func firmwareAt(root string) report.Machine {
	text := func(names ...string) string {
		for _, name := range names {
			content, _ := os.ReadFile(filepath.Join(root, name))
			if s := strings.TrimSpace(strings.Trim(string(content), "\x00\n")); s != "" {
				return strings.ToValidUTF8(s, "?")
			}
		}
		return ""
	}
	const dmi, tree = "sys/class/dmi/id/", "sys/firmware/devicetree/base/"
	return report.Machine{
		Vendor:  text(dmi + "sys_vendor"),
		Product: text(dmi+"product_name", tree+"model"),
		Serial:  text(dmi+"product_serial", tree+"serial-number"),
		UUID:    strings.ToLower(text(dmi + "product_uuid")),
	}
}

// cardsAt lists the addresses of Ethernet cards.
func cardsAt(root string) []string {
	macs := []string{}
	cards, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*"))
	for _, card := range cards {
		kind, _ := os.ReadFile(filepath.Join(card, "type"))
		address, _ := os.ReadFile(filepath.Join(card, "address"))
		mac := strings.TrimSpace(string(address))
		// ARPHRD_ETHER; a VLAN or bond has the address of a card below it.
		if strings.TrimSpace(string(kind)) == "1" && !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs
}

// memory reads /proc/meminfo.
func memory(root string) *report.Memory {
	file, err := os.Open(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return nil
	}
	defer file.Close()
	var m report.Memory
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		switch name {
		case "MemTotal":
			m.Total = kib << 10
		case "MemAvailable":
			m.Available = kib << 10
			return &m
		}
	}
	return &m
}
