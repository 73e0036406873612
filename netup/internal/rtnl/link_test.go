package rtnl

import (
	"os"
	"path/filepath"
	"testing"
)

// A virtio card is found by the PCI card that carries it.
func TestPlaceOnTheBus(t *testing.T) {
	sys := t.TempDir()
	dir := func(p string) string {
		p = filepath.Join(sys, p)
		must(t, os.MkdirAll(p, 0o755))
		return p
	}
	for _, bus := range []string{"pci", "virtio", "usb"} {
		dir("bus/" + bus)
	}
	link := func(target, name string) { must(t, os.Symlink(filepath.Join(sys, target), name)) }
	card := dir("devices/pci0000:00/0000:00:03.0")
	link("bus/pci", card+"/subsystem")
	must(t, os.WriteFile(card+"/vendor", []byte("0x1af4\n"), 0o644))
	must(t, os.WriteFile(card+"/device", []byte("0x1000\n"), 0o644))
	link("bus/virtio", dir("devices/pci0000:00/0000:00:03.0/virtio0")+"/subsystem")
	link("bus/usb", dir("devices/usb1/1-1/1-1:1.0")+"/subsystem")
	link("devices/pci0000:00/0000:00:03.0/virtio0", dir("class/net/eth0")+"/device")
	link("devices/usb1/1-1/1-1:1.0", dir("class/net/usb0")+"/device")
	dir("class/net/veth0")
	for name, want := range map[string]Place{
		"eth0":  {"pci", "0000:00:03.0", "1af4:1000"},
		"usb0":  {"usb", "1-1:1.0", ""},
		"veth0": {},
	} {
		if got := Bus(name, sys); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
