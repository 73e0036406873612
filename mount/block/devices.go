package block

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// Device is a block device.
type Device struct {
	Path string // below /dev
	Size int64  // bytes
	Content
	Partition Partition
	ids       []string // in /dev/disk/by-id
}

// String is for people: the path and what is there.
func (d Device) String() string {
	words := []string{d.Path}
	for _, w := range [][2]string{{"", d.Type}, {"LABEL=", d.Label}, {"UUID=", d.UUID}, {"PARTLABEL=", d.Partition.Label}, {"PARTUUID=", d.Partition.UUID}} {
		if w[1] != "" {
			words = append(words, w[0]+w[1])
		}
	}
	return strings.Join(words, " ")
}

// Devices knows the block devices of a machine. What it has read of one it
// reads again only when another disk has taken its name.
type Devices struct {
	sysfs, dev string
	log        *slog.Logger

	mu   sync.Mutex
	read map[string]known         // by the kernel's name
	busy map[string]chan struct{} // those that are being read; closed at the end
}

type known struct {
	identity string
	device   Device
}

// NewDevices returns the devices that sysfs shows, with their nodes in dev.
func NewDevices(sysfs, dev string, log *slog.Logger) *Devices {
	return &Devices{sysfs: sysfs, dev: dev, log: log.With("what", "disks"), read: map[string]known{}, busy: map[string]chan struct{}{}}
}

// readPatience is how long a disk may take to be read before the others are
// used without it.
const readPatience = 5 * time.Second

// List returns the devices that hold something, by name; those of a disk that
// can't be read are told of in the log and left out. Disks are read at the same
// time, and one that does not answer is left out until it does.
func (d *Devices) List() []Device {
	entries, err := os.ReadDir(filepath.Join(d.sysfs, "class/block"))
	if err != nil {
		d.log.Warn(err.Error())
		return nil
	}
	var reading sync.WaitGroup
	found := make([]Device, len(entries))
	for i, e := range entries {
		reading.Go(func() { found[i] = d.lookWithin(e.Name(), readPatience) })
	}
	reading.Wait()
	return slices.DeleteFunc(found, func(d Device) bool { return d.Path == "" })
}

// lookWithin is look for devices that may not answer. Nothing ends the reading
// of one; who asks again meanwhile does not wait for it.
func (d *Devices) lookWithin(name string, patience time.Duration) (device Device) {
	d.mu.Lock()
	done, busy := d.busy[name]
	if !busy {
		done = make(chan struct{})
		d.busy[name] = done
	}
	d.mu.Unlock()
	if busy {
		select {
		case <-done:
			return d.look(name) // known by now
		default:
			return Device{}
		}
	}
	result := make(chan Device, 1)
	go func() {
		device := d.look(name)
		d.mu.Lock()
		delete(d.busy, name)
		d.mu.Unlock()
		close(done)
		result <- device
	}()
	select {
	case device := <-result:
		return device
	case <-time.After(patience):
		d.log.Warn(name + " does not answer; looking at the others without it")
		return Device{}
	}
}

// reading tells whether a device does not answer yet.
func (d *Devices) reading() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.busy) > 0
}

// look returns one device, with no Path where it is none to look at.
func (d *Devices) look(name string) Device {
	dir := filepath.Join(d.sysfs, "class/block", name)
	sectors, _ := strconv.ParseInt(attribute(dir, "size"), 10, 64)
	if sectors == 0 || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "zram") || strings.HasPrefix(name, "fd") {
		return Device{}
	}
	// A disk has a number of its own since Linux 5.15; its partitions are told
	// by their place.
	disk, number := resolved(dir), 0
	if n := attribute(dir, "partition"); n != "" {
		number, _ = strconv.Atoi(n)
		disk = filepath.Dir(disk)
	}
	identity := strings.Join([]string{attribute(disk, "diskseq"), attribute(dir, "start"), attribute(dir, "size")}, " ")
	d.mu.Lock()
	before, ok := d.read[name]
	d.mu.Unlock()
	if ok && before.identity == identity {
		return before.device
	}
	device, err := d.inspect(name, dir, disk, number, sectors<<9)
	if err != nil {
		if errors.Is(err, unix.ENOMEDIUM) || errors.Is(err, os.ErrNotExist) {
			return Device{}
		}
		d.log.Warn(name, "err", err)
		device = Device{} // nor is it read again
	}
	d.mu.Lock()
	d.read[name] = known{identity, device}
	d.mu.Unlock()
	return device
}

func (d *Devices) inspect(name, dir, disk string, number int, size int64) (Device, error) {
	device := Device{Path: filepath.Join(d.dev, strings.ReplaceAll(name, "!", "/")), Size: size, ids: idsOf(disk, number)}
	file, err := os.Open(device.Path)
	if err != nil {
		return device, err
	}
	defer file.Close()
	if device.Content, err = Probe(file, size); err != nil || number == 0 {
		return device, err
	}
	whole, err := os.Open(filepath.Join(d.dev, strings.ReplaceAll(filepath.Base(disk), "!", "/")))
	if err != nil {
		return device, err
	}
	defer whole.Close()
	sector, _ := strconv.Atoi(attribute(disk, "queue/logical_block_size"))
	parts, err := Partitions(whole, sector)
	device.Partition = parts[number]
	return device, err
}

func attribute(dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func resolved(dir string) string {
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		return path
	}
	return dir
}

// Find returns the device that name means, when all devices of its file system
// are there. Of several it takes the first, and says so.
func (d *Devices) Find(name Name) (Device, bool) {
	if name.tag == "PATH" {
		return d.byPath(name.value)
	}
	found := slices.DeleteFunc(d.List(), func(d Device) bool { return !name.Means(d) })
	if len(found) == 0 || !d.complete(found[0]) {
		return Device{}, false
	}
	if len(found) > max(1, found[0].devices) {
		d.log.Warn(fmt.Sprintf("both %s and %s are %s; taking the first", found[0].Path, found[1].Path, name))
	}
	return found[0], true
}

// byPath finds a device by its node or a link to it.
func (d *Devices) byPath(path string) (Device, bool) {
	path = filepath.Join(d.dev, strings.TrimPrefix(path, "/dev"))
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Device{}, false
	}
	if info, err := os.Stat(target); err != nil || info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0 {
		return Device{}, false
	}
	device := d.look(strings.ReplaceAll(strings.TrimPrefix(target, d.dev+"/"), "/", "!"))
	return device, device.Path != "" && d.complete(device)
}

// missing is the error of a device that did not appear, with those that are
// there.
func (d *Devices) missing(name Name, cause error) *fault.Error {
	e := fault.Errorf(fault.NoDevice, "no device %s: %w", name, cause)
	for _, other := range d.seen() {
		e.Tried = append(e.Tried, "there is "+other.String())
	}
	if e.Tried == nil {
		e.Tried = []string{"there is no disk at all"}
	}
	return e
}

// Wait returns the device that name means as soon as it is there. It looks
// again whenever changed says that a device came or went.
func (d *Devices) Wait(ctx context.Context, name Name, changed <-chan struct{}) (Device, error) {
	found := make(chan Device, 1) // without a Path where it is not there
	for {
		// A disk that hangs while it is read hangs its reader, too, which
		// nothing can end.
		go func() {
			device, _ := d.Find(name)
			found <- device
		}()
		select {
		case device := <-found:
			if device.Path != "" {
				return device, nil
			}
		case <-ctx.Done():
			return Device{}, d.missing(name, context.Cause(ctx))
		}
		var later <-chan time.Time
		if d.reading() {
			later = time.After(time.Second)
		}
		select {
		case <-changed:
		case <-later:
		case <-ctx.Done():
			return Device{}, d.missing(name, context.Cause(ctx))
		}
	}
}

// seen are the devices that were read so far, by name.
func (d *Devices) seen() []Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Device
	for _, name := range slices.Sorted(maps.Keys(d.read)) {
		if device := d.read[name].device; device.Path != "" {
			all = append(all, device)
		}
	}
	return all
}

// Usable tells whether d may hold a file system, or something that has to be
// assembled first.
func (d Device) Usable() error {
	switch d.Type {
	case "crypto_LUKS", "LVM2_member", "linux_raid_member", "swap", "swsuspend", "jbd":
		return fault.Errorf(fault.Mount, "%s holds no file system but %s, which the initrd does not assemble: do that in stage 2", d.Path, d.Type)
	}
	return nil
}
