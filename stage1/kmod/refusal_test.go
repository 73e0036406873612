package kmod

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What drivers say of cards that they do not take, with the remedy.
func TestRefusal(t *testing.T) {
	log := `<6>[    2.101] ixgbe: Intel(R) 10 Gigabit PCI Express Network Driver
<3>[    2.310] ixgbe 0000:01:00.0: failed to load because an unsupported SFP+ or QSFP module type was detected.
<3>[    2.311] ixgbe 0000:01:00.0: Reload the driver after installing a supported module.
<4>[    2.400] e1000 0000:00:04.0: The EEPROM Checksum Is Not Valid
[    2.500] bnx2 0000:02:00.0: Direct firmware load for bnx2/bnx2-mips-09-6.2.1b.fw failed with error -2
[    2.501] bnx2 0000:02:00.0: Can't load firmware file "bnx2/bnx2-mips-09-6.2.1b.fw"
<4>[    2.600] pci 0000:03:00.0: BAR 0: no space for [mem size 0x00800000 64bit pref]
<3>[    2.700] i40e 0000:04:00.0: Rx/Tx is disabled on this device because an unsupported SFP module type was detected.
<6>[    2.800] igb 0000:05:00.0: added PHC on eth0
<6>[    0.500] pci 0000:00:03.0: BAR 4 [mem 0xfe000000-0xfe003fff 64bit pref]
<4>[    0.600] pci 0000:00:05.0: BAR 4 [mem size 0x00004000 64bit pref]: can't assign; no space
<4>[    0.600] pci 0000:00:05.0: BAR 4 [mem size 0x00004000 64bit pref]: failed to assign
<3>[    0.700] tg3 0000:00:06.0: BAR 0: can't reserve [mem 0xfd000000-0xfd00ffff 64bit]
`
	for device, want := range map[string]string{
		"0000:01:00.0": "failed to load because an unsupported SFP+ or QSFP module type was detected.: take a transceiver that the driver knows, or ixgbe.allow_unsupported_sfp=1 on the kernel command line",
		"0000:00:04.0": "The EEPROM Checksum Is Not Valid: e1000.eeprom_bad_csum_allow=1 on the kernel command line has the driver go on; the card may be broken",
		"0000:02:00.0": `Can't load firmware file "bnx2/bnx2-mips-09-6.2.1b.fw": pack the firmware that it names into the initrd (netstage initrd --firmware FILE)`,
		"0000:03:00.0": "BAR 0: no space for [mem size 0x00800000 64bit pref]: pci=realloc on the kernel command line has the kernel give it room",
		"0000:04:00.0": "Rx/Tx is disabled on this device because an unsupported SFP module type was detected.: take a transceiver that the driver knows",
		"0000:05:00.0": "",
		"0000:06:00.0": "",
		"0000:00:03.0": "",
		"0000:00:05.0": "BAR 4 [mem size 0x00004000 64bit pref]: failed to assign: pci=realloc on the kernel command line has the kernel give it room",
		"0000:00:06.0": "BAR 0: can't reserve [mem 0xfd000000-0xfd00ffff 64bit]: pci=realloc on the kernel command line has the kernel give it room",
	} {
		if got := Refusal(log, device); got != want {
			t.Errorf("%s: %q", device, got)
		}
	}

	sysfs := t.TempDir()
	card := map[string]string{"class": "0x020000", "vendor": "0x8086", "device": "0x10fb", "driver": ""}
	for _, name := range []string{"0000:00:05.0", "0000:01:00.0", "0000:04:00.0", "0000:05:00.0"} {
		if err := device(sysfs, "pci", name, card); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"0000:04:00.0/net/eth1", "0000:00:05.0/virtio0/net/eth0"} {
		if err := os.MkdirAll(filepath.Join(sysfs, "bus/pci/devices", link), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := Refused(sysfs, func() string { return log })
	if len(got) != 1 || !strings.HasPrefix(got[0], "pci device 0000:01:00.0 [8086:10fb] has a driver and no link: failed to load") || !strings.Contains(got[0], "ixgbe.allow_unsupported_sfp=1") {
		t.Errorf("%q", got)
	}
	m := MissingDriver{Bus: "pci", Device: "0000:01:00.0", ID: "8086:10fb", Modules: []string{"ixgbe"}, Refusal: Refusal(log, "0000:01:00.0")}
	if s := m.String(); !strings.HasPrefix(s, "pci device 0000:01:00.0 [8086:10fb] has no driver: ixgbe should drive it and does not: failed to load because") {
		t.Error(s)
	}
}
