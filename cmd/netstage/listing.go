package main

import (
	"fmt"
	"regexp"
	"strings"
)

// What people have of a machine's hardware is the output of lspci, lsusb,
// ethtool -i, inxi and udevadm, or a vendor's and a device's number. Each line
// of it names a device, belongs to one, or is not understood.
var (
	// lspci in all its forms begins lines so: 00:1f.6, 0000:00:1f.6.
	pciLine   = regexp.MustCompile(`^(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7][ \t]+(.*)`)
	pciClass  = regexp.MustCompile(`\[([0-9a-fA-F]{4})\]|^"?([0-9a-fA-F]{4})"?[: ]`)
	pciIDs    = regexp.MustCompile(`\[([0-9a-fA-F]{4}):([0-9a-fA-F]{4})\]|^"?[0-9a-fA-F]{4}"?:? "?([0-9a-fA-F]{4})"?[: ]"?([0-9a-fA-F]{4})"?`)
	pciQuoted = regexp.MustCompile(`\[([0-9a-fA-F]{4})\]"`) // lspci -mmnn: class, vendor, device
	usbLine   = regexp.MustCompile(`^Bus \d+ Device \d+: ID ([0-9a-fA-F]{4}):([0-9a-fA-F]{4})\b`)
	idPair    = regexp.MustCompile(`^([0-9a-fA-F]{4}):([0-9a-fA-F]{4})$`)
	modalias  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]*:\S*$`)
	udevAlias = regexp.MustCompile(`(?:^(?:E: )?MODALIAS=|ATTRS?\{modalias\}==")([^"\s]+)`)
	ethtool   = regexp.MustCompile(`^driver: (\S+)$`)
	inxi      = regexp.MustCompile(`\bDevice-\d+:`)
	inxiChip  = regexp.MustCompile(`chip-ID: ([0-9a-f]{4}):([0-9a-f]{4})`)
	inxiClass = regexp.MustCompile(`class-ID: ([0-9a-f]{4})`)
	driver    = regexp.MustCompile(`\bdriver: (\S+)`)
	record    = regexp.MustCompile(`^(Slot|Class|Vendor|Device|SVendor|SDevice|Rev|ProgIf|Driver|Module|NUMANode|IOMMUGroup|PhySlot|DTNode):\t(.*)`)
	number    = regexp.MustCompile(`\[?([0-9a-fA-F]{4})\]?$`)
	// passed over: what lspci -k, ethtool -i and udevadm tell besides.
	passedOver = regexp.MustCompile(`^([ \t]|[A-Z]: |(version|firmware-version|expansion-rom-version|bus-info|supports-[a-z-]+):|[A-Z_0-9]+=|looking at |Udevadm info |found in|device\.$)`)
)

// readListing returns the devices that a text names.
func readListing(name, text string) ([]device, error) {
	if inxi.MatchString(text) {
		return readInxi(text), nil
	}
	var all []device
	slot := map[string]string{}
	flush := func() {
		if slot["Device"] != "" {
			all = append(all, pciDevice(slot["Class"], slot["Vendor"], slot["Device"]))
		}
		clear(slot)
	}
	at := 0
	for line := range strings.Lines(text) {
		at++
		line = strings.TrimRight(line, "\r\n")
		if m := record.FindStringSubmatch(line); m != nil {
			if n := number.FindStringSubmatch(strings.TrimSpace(m[2])); n != nil {
				slot[m[1]] = n[1]
			} else if m[1] == "Device" || m[1] == "Class" {
				return nil, fmt.Errorf("%s: line %d has names and no numbers: have lspci print them, by -vmmn", name, at)
			}
			continue
		}
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		d, named, err := deviceOfLine(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: line %d %w", name, at, err)
		case named:
			all = append(all, d)
		}
	}
	flush()
	return all, nil
}

// deviceOfLine tells which device a line names, if it names one.
func deviceOfLine(line string) (d device, named bool, err error) {
	word := strings.TrimSpace(line)
	switch {
	case word[0] == '#':
		return d, false, nil
	case pciLine.MatchString(line):
		rest := pciLine.FindStringSubmatch(line)[1]
		if m := pciQuoted.FindAllStringSubmatch(rest, 3); len(m) == 3 {
			return pciDevice(m[0][1], m[1][1], m[2][1]), true, nil
		}
		ids := pciIDs.FindStringSubmatch(rest)
		class := pciClass.FindStringSubmatch(rest)
		if ids == nil || class == nil {
			return d, false, fmt.Errorf("has names and no numbers: have lspci print them, by -nn")
		}
		return pciDevice(class[1]+class[2], ids[1]+ids[3], ids[2]+ids[4]), true, nil
	case usbLine.MatchString(line):
		m := usbLine.FindStringSubmatch(line)
		return usbDevice(m[1], m[2]), true, nil
	case idPair.MatchString(word):
		m := idPair.FindStringSubmatch(word)
		d := pciDevice("0200", m[1], m[2])
		d.name, d.others, d.network = word, append(d.others, usbDevice(m[1], m[2]).aliases()...), false
		return d, true, nil
	case udevAlias.MatchString(line):
		return deviceOf(udevAlias.FindStringSubmatch(line)[1]), true, nil
	case ethtool.MatchString(line):
		name := ethtool.FindStringSubmatch(line)[1]
		return device{name: "a card that " + name + " drives", alias: name, network: true, named: true}, true, nil
	case passedOver.MatchString(line):
		return d, false, nil
	case modalias.MatchString(word):
		return deviceOf(word), true, nil
	}
	return d, false, fmt.Errorf("is no modalias, nor of lspci -nn, lsusb, ethtool -i, inxi -Nxxx or udevadm: %.40q", word)
}

// readInxi reads what inxi tells of devices, which it breaks into lines as it
// likes.
func readInxi(text string) []device {
	text = strings.Join(strings.Fields(text), " ")
	var all []device
	for _, part := range inxi.Split(text, -1)[1:] {
		chip, class, name := inxiChip.FindStringSubmatch(part), inxiClass.FindStringSubmatch(part), driver.FindStringSubmatch(part)
		switch {
		case chip != nil && strings.Contains(part, "type: USB"):
			all = append(all, usbDevice(chip[1], chip[2]))
		case chip != nil:
			kind := "0200"
			if class != nil {
				kind = class[1]
			}
			all = append(all, pciDevice(kind, chip[1], chip[2]))
		case name != nil && name[1] != "N/A":
			all = append(all, device{name: "a card that " + name[1] + " drives", alias: name[1], network: true, named: true})
		}
	}
	return all
}

// pciDevice makes the modalias that a PCI device would have, but for its
// makers' subsystem, which few drivers ask for.
func pciDevice(class, vendor, id string) device {
	up := strings.ToUpper
	return deviceOf(fmt.Sprintf("pci:v0000%sd0000%ssv00000000sd00000000bc%ssc%si00", up(vendor), up(id), up(class[:2]), up(class[2:])))
}

// usbDevice makes modaliases that a USB network card would have: what its
// interfaces are is not told.
func usbDevice(vendor, id string) device {
	base := fmt.Sprintf("usb:v%sp%sd0000dc00dsc00dp00", strings.ToUpper(vendor), strings.ToUpper(id))
	d := deviceOf(base + "icFFiscFFip00in00")
	d.others = []string{base + "ic02isc06ip00in00", base + "ic02isc0Dip00in00", base + "icFFisc00ip00in00"}
	return d
}

// aliases are those that a device may have, the likeliest first.
func (d device) aliases() []string { return append([]string{d.alias}, d.others...) }
