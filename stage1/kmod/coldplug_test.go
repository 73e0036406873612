package kmod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
	"netstage/stage1/uevent"
)

const busTree = `virtio_pci.ko: virtio_ring.ko
virtio_ring.ko:
virtio_net.ko:
e1000.ko:
broken.ko:
`

const busAliases = `alias pci:v00001AF4d* virtio_pci
alias virtio:d00000001v* virtio_net
alias pci:v00008086d0000100Esv* e1000
alias pci:v0000DEAD* broken
alias pci:v00001234* gone
`

func device(sysfs, bus, name string, attrs map[string]string) error {
	dir := filepath.Join(sysfs, "bus", bus, "devices", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for attr, value := range attrs {
		if err := os.WriteFile(filepath.Join(dir, attr), []byte(value+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestColdplug has a bus driver bring a device to light, and a driver that
// fails.
func TestColdplug(t *testing.T) {
	sysfs := t.TempDir()
	k := &fakeKernel{fail: map[string]unix.Errno{"broken": unix.EIO}, onLoad: func(name string) {
		if name == "virtio_pci" {
			if err := device(sysfs, "virtio", "virtio0", map[string]string{"modalias": "virtio:d00000001v00001AF4"}); err != nil {
				t.Error(err)
			}
		}
	}}
	for name, modalias := range map[string]string{"0000:00:03.0": "pci:v00001AF4d00001000sv0", "0000:00:04.0": "pci:v0000DEADd0", "0000:00:05.0": "pci:v00001234d00005678"} {
		if err := device(sysfs, "pci", name, map[string]string{"modalias": modalias}); err != nil {
			t.Fatal(err)
		}
	}
	tree := moduleTree(t, busTree+"gone.ko:\n", map[string]string{"modules.alias": busAliases})
	if err := os.Remove(filepath.Join(tree, "gone.ko")); err != nil {
		t.Fatal(err)
	}
	l, log := newTestLoader(t, tree, k)
	r, err := l.Coldplug(t.Context(), sysfs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"virtio_net", "virtio_pci", "virtio_ring"}, k.names()); diff != "" {
		t.Error(diff)
	}
	if r.Modaliases != 4 || r.Matched < 3 || len(r.Failed) != 2 || len(r.Loaded) != 3 {
		t.Errorf("report %+v", r)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "WARN ") != (strings.Contains(line, "module broken") || strings.Contains(line, "gone.ko")) {
			t.Errorf("logged: %s", line)
		}
	}
	if !strings.Contains(log.String(), "module broken") {
		t.Errorf("no warning:\n%s", log)
	}
	if _, err := l.Coldplug(t.Context(), filepath.Join(sysfs, "nowhere")); err == nil {
		t.Error("no sysfs, no error")
	}
}

func TestMissingDrivers(t *testing.T) {
	sysfs := t.TempDir()
	for name, attrs := range map[string]map[string]string{
		"0000:00:03.0": {"class": "0x020000", "vendor": "0x8086", "device": "0x100e", "modalias": "pci:v00008086d0000100Esv0"},
		"0000:00:04.0": {"class": "0x020000", "vendor": "0x14e4", "device": "0x1657", "modalias": "pci:v000014E4d00001657sv0"},
		"0000:00:05.0": {"class": "0x020000", "vendor": "0x14e4", "device": "0x1657", "driver": ""},
		"0000:00:06.0": {"class": "0x010000", "vendor": "0x14e4", "device": "0x1657"},
		"0000:00:07.0": {"class": "0x020000", "vendor": "0x8086", "device": "0x1533", "modalias": "pci:v00008086d00001533sv0"},
		"0000:00:08.0": {"class": "0x028000", "vendor": "0x8086", "device": "0x2723", "modalias": "pci:v00008086d00002723sv0"}, // wireless
	} {
		if err := device(sysfs, "pci", name, attrs); err != nil {
			t.Fatal(err)
		}
	}
	// Interfaces of USB devices, of which only drivers know what they are.
	for name, attrs := range map[string]map[string]string{
		"1-1:1.0": {"modalias": "usb:v0BDAp8152d3100"},
		"1-1:1.1": {"modalias": "usb:v0BDAp8152d3100", "driver": ""},
		"1-2:1.0": {"modalias": "usb:v046DpC31Cd4920"}, // a keyboard
	} {
		device1 := filepath.Join(sysfs, "devices", name[:3])
		if err := device(device1, "usb", name, attrs); err != nil {
			t.Fatal(err)
		}
		for attr, text := range map[string]string{"idVendor": "0bda", "idProduct": "8152"} {
			if err := os.WriteFile(filepath.Join(device1, "bus/usb/devices", attr), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		at := filepath.Join(sysfs, "bus/usb/devices", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(filepath.Join(device1, "bus/usb/devices", name), at)); err != nil {
			t.Fatal(err)
		}
	}
	ix, err := modindex.Open(moduleTree(t, busTree, map[string]string{"modules.alias": busAliases, modindex.UnpackedFile: "" +
		"alias pci:v00008086d00001533sv* igb\nalias pci:v00008086d0000100Esv* e1000_old\nalias usb:v0BDAp8152d* r8152\n"}))
	if err != nil {
		t.Fatal(err)
	}
	got := MissingDrivers(ix, sysfs)
	want := []MissingDriver{
		{Bus: "pci", Device: "0000:00:03.0", ID: "8086:100e", Modalias: "pci:v00008086d0000100Esv0", Modules: []string{"e1000"}, Unpacked: []string{"e1000_old"}},
		{Bus: "pci", Device: "0000:00:04.0", ID: "14e4:1657", Modalias: "pci:v000014E4d00001657sv0"},
		{Bus: "pci", Device: "0000:00:07.0", ID: "8086:1533", Modalias: "pci:v00008086d00001533sv0", Unpacked: []string{"igb"}},
		{Bus: "usb", Device: "1-1:1.0", ID: "0bda:8152", Modalias: "usb:v0BDAp8152d3100", Unpacked: []string{"r8152"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for i, want := range []string{
		"pci device 0000:00:03.0 [8086:100e] has no driver: e1000 should drive it and does not (dmesg says why)",
		"pci device 0000:00:04.0 [14e4:1657] has no driver: this kernel has none for it, or it is not in the initrd",
		"pci device 0000:00:07.0 [8086:1533] has no driver: pack igb into the initrd (--module igb)",
	} {
		if s := got[i].String(); s != want {
			t.Error(s)
		}
	}
}

// TestQueue feeds the loading half of Hotplug what the kernel would send.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		l, log := newTestLoader(t, moduleTree(t, busTree, map[string]string{"modules.alias": busAliases}), k)
		l.sysfs = t.TempDir()
		if err := device(l.sysfs, "virtio", "virtio0", map[string]string{"modalias": "virtio:d00000001v00001AF4"}); err != nil {
			t.Fatal(err)
		}
		q := l.newQueue(t.Context(), l.sysfs)
		q.add(uevent.Event{Action: "remove", Env: map[string]string{"MODALIAS": "pci:v0000DEADd0"}})
		q.add(uevent.Event{Action: "add", Env: map[string]string{"MODALIAS": "pci:v00008086d0000100Esv0"}})
		synctest.Wait()
		if diff := cmp.Diff([]string{"e1000"}, k.names()); diff != "" {
			t.Error(diff)
		}
		q.add(uevent.Event{Action: uevent.Lost})
		q.end()
		if diff := cmp.Diff([]string{"e1000", "virtio_net"}, k.names()); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(log.String(), "new device, loaded e1000") {
			t.Errorf("not told:\n%s", log)
		}
	})
}

// TestHotplugEnds starts Hotplug on the host's real events and ends it by its
// context, with and without a Listen before.
func TestHotplugEnds(t *testing.T) {
	l, _ := newTestLoader(t, moduleTree(t, busTree, nil), &fakeKernel{})
	for _, listen := range []bool{true, false} {
		if listen {
			if err := l.Listen(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.Hotplug(ctx) }()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("listen %v: %v", listen, err)
		}
	}
	if l.socket != nil || l.plugging != 0 {
		t.Error("a socket is left open")
	}
}
