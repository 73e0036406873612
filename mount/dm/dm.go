// Package dm makes devices of the device mapper that consist of one target,
// and swaps what is below them while they are in use.
package dm

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control is where the device mapper is told what to do. devtmpfs makes it as
// soon as dm_mod is there.
const Control = "/dev/mapper/control"

// Table is a device's one target.
type Table struct {
	Sectors uint64 // of 512 bytes
	Kind    string // such as "verity"
	Params  string
}

// Linear is the first size bytes of a block device.
func Linear(device uint64, size int64) Table {
	return Table{Sectors: uint64(size) / 512, Kind: "linear", Params: Number(device) + " 0"}
}

// Number is how tables name a block device.
func Number(device uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
}

// Device is a device that has been made. The zero value is none.
type Device struct {
	Name string
	Path string // of its node in devtmpfs
}

// Create makes a read-only device, under the first name that is free of name,
// name-2 and so on: a device of an earlier try may still have users. The name
// is added to the uuid. Until LetGo is called the device stays, used or not.
func Create(control *os.File, name, uuid string, t Table) (Device, error) {
	const tries = 16
	var err error
	for n := 1; n <= tries; n++ {
		d := Device{Name: name}
		if n > 1 {
			d.Name = fmt.Sprintf("%s-%d", name, n)
		}
		if d, err = d.create(control, uuid+d.Name, t); !errors.Is(err, unix.EBUSY) {
			return d, err
		}
	}
	return Device{}, err
}

func (d Device) create(control *os.File, uuid string, t Table) (Device, error) {
	head := unix.DmIoctl{}
	copy(head.Uuid[:len(head.Uuid)-1], uuid)
	made, err := d.ioctl(control, "DM_DEV_CREATE", unix.DM_DEV_CREATE, head, nil)
	if err != nil {
		return Device{}, err
	}
	if err := d.load(control, t, 0); err != nil {
		return Device{}, errors.Join(err, d.LetGo(control))
	}
	d.Path = fmt.Sprintf("/dev/dm-%d", unix.Minor(made.Dev))
	return d, nil
}

// Swap puts another target in the place of the one in use. Requests under way
// are waited for, later ones wait until it is done: users see no error.
func (d Device) Swap(control *os.File, t Table) error {
	// A read-only file system has nothing to be brought to the device first.
	return d.load(control, t, unix.DM_SKIP_LOCKFS_FLAG)
}

// load gives the device a table. It is known then, and not in use before
// DM_DEV_SUSPEND, which without its flag means to resume
// (Documentation/admin-guide/device-mapper).
func (d Device) load(control *os.File, t Table, flags uint32) error {
	if _, err := d.ioctl(control, "DM_TABLE_LOAD", unix.DM_TABLE_LOAD, unix.DmIoctl{Flags: unix.DM_READONLY_FLAG}, t.encode()); err != nil {
		return fmt.Errorf("%s: %w", t.Kind, err)
	}
	_, err := d.ioctl(control, "DM_DEV_SUSPEND", unix.DM_DEV_SUSPEND, unix.DmIoctl{Flags: flags}, nil)
	return err
}

// LetGo removes the device, at once or with its last user.
func (d Device) LetGo(control *os.File) error {
	_, err := d.ioctl(control, "DM_DEV_REMOVE", unix.DM_DEV_REMOVE, unix.DmIoctl{Flags: unix.DM_DEFERRED_REMOVE}, nil)
	return err
}

// encode makes a struct dm_target_spec and its parameters, a string that ends
// with zeros up to a multiple of eight bytes.
func (t Table) encode() []byte {
	spec := unix.DmTargetSpec{Length: t.Sectors, Next: uint32(unix.SizeofDmTargetSpec + (len(t.Params)+8)&^7)}
	copy(spec.Target_type[:len(spec.Target_type)-1], t.Kind)
	table := make([]byte, spec.Next)
	copy(table, unsafe.Slice((*byte)(unsafe.Pointer(&spec)), unix.SizeofDmTargetSpec))
	copy(table[unix.SizeofDmTargetSpec:], t.Params)
	return table
}

// ioctl sends head, a struct dm_ioctl, with what follows it, and returns the
// kernel's.
func (d Device) ioctl(control *os.File, op string, request uintptr, head unix.DmIoctl, table []byte) (unix.DmIoctl, error) {
	head.Version = [3]uint32{unix.DM_VERSION_MAJOR}
	head.Data_size, head.Data_start = uint32(unix.SizeofDmIoctl+len(table)), unix.SizeofDmIoctl
	copy(head.Name[:len(head.Name)-1], d.Name)
	if len(table) > 0 {
		head.Target_count = 1
	}
	// Of 64-bit words, for the alignment of the struct.
	words := make([]uint64, (int(head.Data_size)+7)/8)
	in := (*unix.DmIoctl)(unsafe.Pointer(&words[0]))
	*in = head
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[unix.SizeofDmIoctl:], table)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(&words[0])))
	if errno != 0 {
		return unix.DmIoctl{}, fmt.Errorf("%s %s: %w", op, strings.TrimSpace(d.Name), errno)
	}
	return *in, nil
}
