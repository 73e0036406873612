package mount

import (
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"netstage/mount/block"
	"netstage/mount/loop"
)

// A btrfs on two disks is found when both are there, and mounted.
func TestBtrfsOnTwoDisks(t *testing.T) {
	needRoot(t)
	var disks []string
	for _, name := range []string{"one", "two"} {
		disk := t.TempDir() + "/" + name
		write(t, disk, "")
		if err := os.Truncate(disk, 128<<20); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, disk)
	}
	if out, err := exec.Command("mkfs.btrfs", "-q", "-m", "raid1", "-d", "raid1", disks[0], disks[1]).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.btrfs: %v\n%s", err, out)
	}
	out, err := exec.Command("blkid", "-p", "-o", "value", "-s", "UUID", disks[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	name, err := block.ParseName("UUID=" + string(out[:36]))
	if err != nil {
		t.Fatal(err)
	}
	devices := block.NewDevices("/sys", "/dev", slog.New(slog.DiscardHandler))
	for i, disk := range disks {
		if d, ok := devices.Find(name); ok {
			t.Errorf("with %d disks: %v", i, d)
		}
		file, err := os.OpenFile(disk, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		device, err := loop.Attach(file, false)
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
	}
	device, ok := devices.Find(name)
	if !ok || device.Type != "btrfs" {
		t.Fatalf("%v, %v", device, ok)
	}
	if err := devices.Assemble(device); err != nil {
		t.Fatal(err)
	}
	dir := mountPoint(t)
	if err := (Mount{Type: "btrfs", Source: device.Path, Target: dir, Options: "compress=zstd"}).Do(); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/file", "text")
	if err := Discard(dir); err != nil {
		t.Error(err)
	}
}
