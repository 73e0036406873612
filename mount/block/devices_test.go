package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netstage/debug/sentence"
	"netstage/stage1/fault"
)

// machine is a sysfs and a /dev with disks that are files.
type machine struct {
	t        *testing.T
	sys, dev string
	log      bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, sys: t.TempDir(), dev: t.TempDir()}
	m.write(filepath.Join(m.sys, "class/block/.keep"), "")
	return m
}

func (m *machine) devices() *Devices {
	return NewDevices(m.sys, m.dev, slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&m.log))))
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// disk plugs a disk in.
func (m *machine) disk(name string, content []byte) {
	m.t.Helper()
	m.write(filepath.Join(m.dev, name), string(content))
	dir := filepath.Join(m.sys, "devices", name)
	m.write(filepath.Join(dir, "diskseq"), "1")
	m.write(filepath.Join(dir, "size"), fmt.Sprint(len(content)>>9))
	if err := os.Symlink(dir, filepath.Join(m.sys, "class/block", name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) ext4(label string) []byte {
	m.t.Helper()
	b, err := os.ReadFile(made(m.t, 1, "mkfs.ext4", "-q", "-L", label))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func name(t *testing.T, text string) Name {
	t.Helper()
	n, err := ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFind(t *testing.T) {
	m := newMachine(t)
	table, err := os.ReadFile(made(t, 4, "sh", "-c", `printf 'label: gpt\nsize=1MiB, name="the data", uuid=0F0E0D0C-0B0A-0908-0706-050403020100\n' | sfdisk -q "$0"`))
	if err != nil {
		t.Fatal(err)
	}
	m.disk("vda", m.ext4("a label/1"))
	m.disk("vdb", m.ext4("twice"))
	m.disk("vdc", m.ext4("twice"))
	m.disk("sda", table)
	part := filepath.Join(m.sys, "devices/sda/sda1")
	m.write(part+"/partition", "1")
	m.write(part+"/size", "2048")
	m.write(filepath.Join(m.dev, "sda1"), string(m.ext4("inner")))
	if err := os.Symlink(part, filepath.Join(m.sys, "class/block/sda1")); err != nil {
		t.Fatal(err)
	}
	m.disk("ram0", m.ext4("nowhere"))
	m.disk("sdz", m.ext4("broken"))
	m.write(filepath.Join(m.sys, "devices/sdz/size"), "1000000") // it ends before
	for name, text := range map[string]string{
		"vda/serial": "my disk/1", "sda/device/wwid": "naa.5000c500a1b2c3d4\n",
		"vdb/nsid": "1", "vdb/wwid": "eui.0025385b71b00d6e", "vdb/device/model": "Samsung SSD 970  PRO        ", "vdb/device/serial": "S463NF0M5 ",
	} {
		m.write(filepath.Join(m.sys, "devices", name), text)
	}
	devices := m.devices()
	for text, want := range map[string]string{
		`LABEL=a label/1`:                    "vda",
		`/dev/disk/by-label/a\x20label\x2f1`: "vda",
		`LABEL=a\x20label/1`:                 "vda", `LABEL="a label/1"`: "vda", `PARTLABEL="the data"`: "sda1",
		"LABEL=twice":                        "vdb",
		"LABEL=inner":                        "sda1",
		`PARTLABEL=the data`:                 "sda1",
		`/dev/disk/by-partlabel/the\x20data`: "sda1",
		"PARTUUID=0F0E0D0C-0B0A-0908-0706-050403020100":              "sda1",
		"/dev/disk/by-partuuid/0f0e0d0c-0b0a-0908-0706-050403020100": "sda1",
		"LABEL=nowhere":                                            "",
		"/dev/disk/by-id/virtio-my_disk_1":                         "vda",
		"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4":                   "sda",
		"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1":             "sda1",
		"/dev/disk/by-id/nvme-eui.0025385b71b00d6e":                "vdb",
		"/dev/disk/by-id/nvme-Samsung_SSD_970_PRO_S463NF0M5":       "vdb",
		"/dev/disk/by-id/nvme-Samsung_SSD_970_PRO_S463NF0M5_1":     "vdb",
		"/dev/disk/by-id/nvme-Samsung_SSD_970_PRO_S463NF0M5-part1": "",
		"UUID=" + strings.ToUpper(probeFile(t, m.dev+"/vda").UUID): "vda",
	} {
		d, ok := devices.Find(name(t, text))
		if ok != (want != "") || ok && d.Path != filepath.Join(m.dev, want) {
			t.Errorf("%s: %v, want %s", text, d, want)
		}
	}
	for _, want := range []string{"sdz: read 4 bytes at", "/vdb and ", "are LABEL=twice; taking the first"} {
		if !strings.Contains(m.log.String(), want) {
			t.Errorf("the log does not tell %q:\n%s", want, m.log.String())
		}
	}
	for _, text := range []string{"SERIAL=x", "LABEL=", "sda1", "/dev/", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", "/dev/disk/by-id/ata-X", "/dev/disk/by-label/", "/mnt"} {
		if _, err := ParseName(text); fault.ClassOf(err) != fault.BadParameter || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A device is there when an event says so, and not before; one that does not
// come is told with those that did.
func TestWait(t *testing.T) {
	m := newMachine(t)
	m.disk("vda", m.ext4("other"))
	content := m.ext4("data")
	synctest.Test(t, func(t *testing.T) {
		devices, changed := m.devices(), make(chan struct{}, 1)
		late := errors.New("not within a minute")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, late)
		defer cancel()
		_, err := devices.Wait(ctx, name(t, "LABEL=data"), changed)
		tried := fault.TriedOf(err)
		if fault.ClassOf(err) != fault.NoDevice || !errors.Is(err, late) || len(tried) != 1 || !strings.Contains(tried[0], "vda ext4 LABEL=other UUID=") {
			t.Errorf("%v, %q", err, tried)
		}

		go func() {
			time.Sleep(3 * time.Second)
			m.disk("vdb", content)
			changed <- struct{}{}
		}()
		start := time.Now()
		d, err := devices.Wait(t.Context(), name(t, "LABEL=data"), changed)
		if err != nil || d.Path != filepath.Join(m.dev, "vdb") || time.Since(start) != 3*time.Second {
			t.Errorf("%v, %v after %v", d, err, time.Since(start))
		}
		// Another disk takes the name.
		m.write(filepath.Join(m.dev, "vdb"), string(content[:1024]))
		m.write(filepath.Join(m.sys, "devices/vdb/diskseq"), "2")
		if d, ok := devices.Find(name(t, "LABEL=data")); ok {
			t.Errorf("what was pulled out is still found: %v", d)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, text := range []string{"LABEL=x", `UUID="x"`, `/dev/disk/by-label/\x20\x`, "/dev/sda1", "a=b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err == nil && (n.value == "" || n.String() != text) {
			t.Errorf("%q: %+v", text, n)
		}
	})
}
