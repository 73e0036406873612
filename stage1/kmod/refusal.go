package kmod

import (
	"fmt"
	"path/filepath"
	"strings"
)

// refusals are the words by which drivers say that they do not take a card, or
// give it up again, with what helps.
var refusals = [...]struct{ says, helps string }{
	{"unsupported SFP", "take a transceiver that the driver knows"},
	{"EEPROM Checksum Is Not Valid", "e1000.eeprom_bad_csum_allow=1 on the kernel command line has the driver go on; the card may be broken"},
	{"NVM Checksum Is Not Valid", "the card's own memory is damaged: its maker's tool may mend it, another card will"},
	{"irmware", "pack the firmware that it names into the initrd (netstage initrd --firmware FILE)"},
	{"no space", realloc}, // Linux tells the BARs of every card that it finds, those without a fault too
	{"failed to assign", realloc},
	{"can't reserve", realloc},
	{"not enough MMIO resources", realloc},
}

const realloc = "pci=realloc on the kernel command line has the kernel give it room"

// overrides are the parameters by which a module's driver goes on all the same.
var overrides = map[string]string{
	"ixgbe unsupported SFP": "ixgbe.allow_unsupported_sfp=1",
}

// Refusal is what the kernel log says last of why a device got no link, with
// what helps; "" when it says nothing that is known. log is as dmesg(1) has it.
func Refusal(log, device string) string {
	out := ""
	for line := range strings.Lines(log) {
		at := strings.Index(line, " "+device+": ")
		if at < 0 {
			continue
		}
		driver := line[:at]
		driver = driver[strings.LastIndexAny(driver, " >]")+1:]
		text := strings.TrimSpace(line[at+len(" "+device+": "):])
		for _, r := range refusals {
			if !strings.Contains(text, r.says) {
				continue
			}
			out = text + ": " + r.helps
			if o := overrides[driver+" "+r.says]; o != "" {
				out += ", or " + o + " on the kernel command line"
			}
			break
		}
	}
	return out
}

// Refused returns a line for each network card on PCI that has a driver and no
// link, where the kernel log says why. sysfs is where sysfs is mounted.
func Refused(sysfs string, log func() string) []string {
	var out []string
	dir := filepath.Join(sysfs, "bus/pci/devices")
	devices, _ := readNames(dir)
	buf := make([]byte, 256)
	for _, d := range devices {
		at := filepath.Join(dir, d)
		if !strings.HasPrefix(readSmall(at+"/class", buf), "0x02") || !bound(at) {
			continue
		}
		if hasLink(at) {
			continue
		}
		if why := Refusal(log(), d); why != "" {
			id := strings.TrimPrefix(readSmall(at+"/vendor", buf), "0x") + ":" + strings.TrimPrefix(readSmall(at+"/device", buf), "0x")
			out = append(out, fmt.Sprintf("pci device %s [%s] has a driver and no link: %s", d, id, why))
		}
	}
	return out
}

// hasLink tells whether a link is at the device in a folder of sysfs, or at one
// on it: virtio's has another in between.
func hasLink(device string) bool {
	for _, pattern := range []string{"/net/*", "/*/net/*"} {
		if links, err := filepath.Glob(device + pattern); err == nil && len(links) > 0 {
			return true
		}
	}
	return false
}
