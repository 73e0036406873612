package block

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scanDevice is BTRFS_IOC_SCAN_DEV (include/uapi/linux/btrfs.h): it tells the
// kernel of a device of a file system on several.
const scanDevice = 0x50009404

// members are the devices of a btrfs, which all have its UUID.
func (d *Devices) members(of Device) []Device {
	return slices.DeleteFunc(d.List(), func(d Device) bool { return d.Type != of.Type || d.UUID != of.UUID })
}

// complete tells whether all devices of a file system are there.
func (d *Devices) complete(device Device) bool {
	return device.devices < 2 || len(d.members(device)) >= device.devices
}

// Assemble has the kernel know all devices of a file system on several. Others
// need nothing. The file system's driver must be loaded.
func (d *Devices) Assemble(device Device) error {
	if device.devices < 2 {
		return nil
	}
	control, err := os.OpenFile("/dev/btrfs-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("assemble the btrfs of %s: %w", device.Path, err)
	}
	defer control.Close()
	for _, member := range d.members(device) {
		var arguments [4096]byte // struct btrfs_ioctl_vol_args: fd, name
		copy(arguments[8:len(arguments)-1], member.Path)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), scanDevice, uintptr(unsafe.Pointer(&arguments))); errno != 0 {
			return fmt.Errorf("assemble the btrfs of %s: scan %s: %w", device.Path, member.Path, errno)
		}
	}
	return nil
}

// devicesOf is how many devices a btrfs is on, by its superblock.
func devicesOf(superblock []byte) int {
	return int(min(binary.LittleEndian.Uint64(superblock[0x88:]), 1<<16))
}
