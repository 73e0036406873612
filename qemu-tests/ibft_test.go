package qemutests

import (
	"bytes"
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// ibftNIC is the card's part of an iBFT (IBM's "iSCSI Boot Firmware Table",
// 1.03, and the kernel's drivers/firmware/iscsi_ibft.c).
type ibftNIC struct {
	ID, Version   uint8
	Length        uint16
	Index, Flags  uint8
	Addr          [16]byte
	Prefix        uint8
	Origin        uint8
	Gateway       [16]byte
	DNS           [2][16]byte
	DHCP          [16]byte
	VLAN          uint16
	MAC           [6]byte
	BDF           uint16
	HostnameSize  uint16
	HostnameStart uint16
}

// ibft is what follows the ACPI header of a table with one card.
func ibft(nic ibftNIC) []byte {
	const header, control = 48, 18
	nic.ID, nic.Version, nic.Length = 3, 1, uint16(binary.Size(nic))
	var b bytes.Buffer
	b.Write(make([]byte, header-36)) // reserved
	b.Write([]byte{1, 1, control, 0, 0, 0})
	// Extensions, initiator, then a card and a target, and the second of both.
	for _, offset := range []uint16{0, 0, header + control, 0, 0, 0} {
		binary.Write(&b, binary.LittleEndian, offset)
	}
	binary.Write(&b, binary.LittleEndian, nic)
	return b.Bytes()
}

// The firmware says in its iBFT how it booted, and nothing on the command line
// says otherwise: the card with that address gets the table's setting.
func TestQEMUFirmwareTable(t *testing.T) {
	t.Parallel()
	v4 := func(a, b, c, d byte) [16]byte { return [16]byte(net.IPv4(a, b, c, d).To16()) }
	table := filepath.Join(t.TempDir(), "ibft")
	writeFile(t, table, string(ibft(ibftNIC{
		Flags: 3, Addr: v4(10, 0, 2, 99), Prefix: 24, Origin: 1, Gateway: v4(10, 0, 2, 2), DNS: [2][16]byte{v4(10, 0, 2, 3)},
		MAC: [6]byte{0x52, 0x54, 0, 0, 0, 2},
	})))
	c := guestWith(t, xzModules, []string{"virtio_net", "iscsi_ibft"})
	c.NICs = []vm.NIC{{MAC: "52:54:00:00:00:01", Backend: emptyHub}, {MAC: "52:54:00:00:00:02"}}
	c.Direct, c.AnyNIC, c.Image, c.Init = true, true, store(t, classic()).path, system.Init
	c.ExtraArgs = []string{"-acpitable", "sig=iBFT,rev=1,data=" + table}
	start(t, c).end(vm.PowerOff, "the firmware's iBFT has 10.0.2.99/24 for 52:54:00:00:00:02", "10.0.2.99/24 via 10.0.2.2, dns 10.0.2.3 as given",
		`"mac": "52:54:00:00:00:02"`, "verified", "stage 2 done")
}
