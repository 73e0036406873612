package rtnl

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeSys makes a sysfs of files, a line of "path content" each, and links, of
// "path -> target".
func fakeSys(t *testing.T, lines string) string {
	t.Helper()
	sys := t.TempDir()
	for line := range strings.Lines(lines) {
		path, content, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" {
			continue
		}
		path = filepath.Join(sys, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.MkdirAll(filepath.Join(sys, target), 0o755))
			must(t, os.Symlink(filepath.Join(sys, target), path))
			continue
		}
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return sys
}

// The names are those that systemd's udev gives such devices.
func TestPredictableNames(t *testing.T) {
	sys := fakeSys(t, `
		devices/pci0000:00/0000:00:03.0/subsystem -> bus/pci
		devices/pci0000:00/0000:00:03.0/virtio0/subsystem -> bus/virtio
		class/net/eth0/device -> devices/pci0000:00/0000:00:03.0/virtio0
		bus/pci/slots/3/address 0000:00:03
		devices/pci0000:00/0000:00:1f.6/subsystem -> bus/pci
		devices/pci0000:00/0000:00:1f.6/acpi_index 1
		class/net/eth1/device -> devices/pci0000:00/0000:00:1f.6
		devices/pci0000:00/0000:00:02.0/subsystem -> bus/pci
		devices/pci0000:00/0000:00:02.0/0000:3b:00.1/subsystem -> bus/pci
		class/net/eth2/device -> devices/pci0000:00/0000:00:02.0/0000:3b:00.1
		bus/pci/slots/7/address 0000:3b:00
		class/net/eth2/phys_port_name p1
		devices/pci0001:00/0001:02:00.0/subsystem -> bus/pci
		class/net/eth3/device -> devices/pci0001:00/0001:02:00.0
		class/net/eth3/dev_port 1
		devices/pci0000:00/0000:00:14.0/subsystem -> bus/pci
		devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0/subsystem -> bus/usb
		class/net/usb0/device -> devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0
		class/net/veth0/operstate up`)
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	for name, want := range map[string][]string{
		"eth0":  {"enx525400123456", "ens3", "enp0s3"},
		"eth1":  {"enx525400123456", "eno1", "enp0s31f6"},
		"eth2":  {"enx525400123456", "ens7f1np1", "enp59s0f1np1"},
		"eth3":  {"enx525400123456", "enP1p2s0d1"},
		"usb0":  {"enx525400123456", "enp0s20u1u4"},
		"veth0": {"enx525400123456"},
	} {
		if got := PredictableNames(name, mac, sys); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
