// Package loop puts files behind loop devices.
package loop

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Attach puts file behind a free loop device. The device frees itself when
// its last user is gone: the returned file, or a mount.
//
// LOOP_CONFIGURE (Linux 5.8) sets the device up in one step; another process
// that takes the same free number meanwhile shows as EBUSY.
func Attach(file *os.File, readOnly bool) (*os.File, error) {
	return AttachPart(file, readOnly, Part{})
}

// A Part is Size bytes of a file from Offset on, both multiples of 512; 0 is
// all that follows.
type Part struct{ Offset, Size int64 }

// AttachPart is Attach for a part of a file.
func AttachPart(file *os.File, readOnly bool, part Part) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (is the loop module loaded?)", err)
	}
	defer control.Close()

	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	config.Info.Offset, config.Info.Sizelimit = uint64(part.Offset), uint64(part.Size)
	mode := os.O_RDWR
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
		mode = os.O_RDONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
	const tries = 64
	for range tries {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), mode, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("put %s behind %s: %w", file.Name(), device.Name(), err)
		}
	}
	return nil, fmt.Errorf("no loop device stayed free in %d tries", tries)
}
