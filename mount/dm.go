package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dmControl is where the device mapper is told what to do. devtmpfs makes it
// as soon as dm_mod is there.
const dmControl = "/dev/mapper/control"

// dmTarget is a device that consists of one target of the device mapper.
type dmTarget struct {
	name, uuid string
	sectors    uint64 // of 512 bytes
	kind       string // such as "verity"
	params     string
}

// create makes the device, read-only, and returns its path. Until letGo is
// called it stays, used or not.
func (d dmTarget) create(control *os.File) (path string, letGo func() error, err error) {
	letGo = func() error {
		return d.call(control, "DM_DEV_REMOVE", unix.DM_DEV_REMOVE, unix.DM_DEFERRED_REMOVE, nil)
	}
	var made unix.DmIoctl
	if made, err = d.ioctl(control, "DM_DEV_CREATE", unix.DM_DEV_CREATE, 0, nil); err != nil {
		return "", nil, err
	}
	// The target is known now, and not in use before DM_DEV_SUSPEND, which
	// without its flag means to resume (Documentation/admin-guide/device-mapper).
	if err = d.call(control, "DM_TABLE_LOAD", unix.DM_TABLE_LOAD, unix.DM_READONLY_FLAG, d.table()); err == nil {
		err = d.call(control, "DM_DEV_SUSPEND", unix.DM_DEV_SUSPEND, 0, nil)
	}
	if err != nil {
		return "", nil, errors.Join(err, letGo())
	}
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(made.Dev)), letGo, nil
}

// table is a struct dm_target_spec and its parameters, a string that ends
// with zeros up to a multiple of eight bytes.
func (d dmTarget) table() []byte {
	spec := unix.DmTargetSpec{Length: d.sectors, Next: uint32(unix.SizeofDmTargetSpec + (len(d.params)+8)&^7)}
	copy(spec.Target_type[:len(spec.Target_type)-1], d.kind)
	table := make([]byte, spec.Next)
	copy(table, unsafe.Slice((*byte)(unsafe.Pointer(&spec)), unix.SizeofDmTargetSpec))
	copy(table[unix.SizeofDmTargetSpec:], d.params)
	return table
}

func (d dmTarget) call(control *os.File, op string, request uintptr, flags uint32, table []byte) error {
	_, err := d.ioctl(control, op, request, flags, table)
	return err
}

// ioctl sends a struct dm_ioctl with what follows it, and returns the
// kernel's.
func (d dmTarget) ioctl(control *os.File, op string, request uintptr, flags uint32, table []byte) (unix.DmIoctl, error) {
	head := unix.DmIoctl{
		Version:   [3]uint32{unix.DM_VERSION_MAJOR},
		Data_size: uint32(unix.SizeofDmIoctl + len(table)), Data_start: unix.SizeofDmIoctl, Flags: flags,
	}
	copy(head.Name[:len(head.Name)-1], d.name)
	if request == unix.DM_DEV_CREATE {
		copy(head.Uuid[:len(head.Uuid)-1], d.uuid)
	}
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
		return unix.DmIoctl{}, fmt.Errorf("%s %s: %w", op, strings.TrimSpace(d.name+" "+d.kind), errno)
	}
	return *in, nil
}
