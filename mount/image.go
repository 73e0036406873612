package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"netstage/mount/loop"
	"netstage/stage1/fault"
)

// LengthOf is how many bytes of a file are the image: all, but of a block device
// what its file system says, in whole pages as mksquashfs pads it.
func LengthOf(file *os.File) (int64, error) {
	size, device, err := sizeOf(file)
	if err != nil || !device {
		return size, err
	}
	length, err := lengthOnDevice(file)
	return min(size, length), err
}

func lengthOnDevice(file *os.File) (int64, error) {
	_, length, err := readSuperblock(file)
	if err != nil {
		return 0, fault.Errorf(fault.BadImage, "image %s: %w", file.Name(), err)
	}
	const page = 4096
	return (length + page - 1) &^ (page - 1), nil
}

// sizeOf is the size of a file or block device.
func sizeOf(file *os.File) (size int64, device bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, false, err
	}
	if info.Mode().IsRegular() {
		return info.Size(), false, nil
	}
	if size, err = file.Seek(0, io.SeekEnd); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	return size, true, err
}

// OpenImage mounts the squashfs or erofs in file, read-only and attached
// nowhere. squashfs decompresses on every processor where the kernel can
// (threads=multi, Linux 6.2). The file may be closed afterwards. Errors are
// *ImageError, *Error or those of the loop device.
func OpenImage(file *os.File) (*Tree, error) {
	m, err := recognise(file)
	if err != nil {
		return nil, err
	}
	if _, device, err := sizeOf(file); device || err != nil {
		m.Source = file.Name()
		if err != nil {
			return nil, err
		}
		return m.Open()
	}
	device, err := loop.Attach(file, true)
	if err != nil {
		return nil, fmt.Errorf("attach %s to a loop device: %w", file.Name(), err)
	}
	defer device.Close()
	m.Source = device.Name()
	return m.Open()
}

// TypeOf is the type of the file system in file, "squashfs" or "erofs".
// Errors are *ImageError.
func TypeOf(file *os.File) (string, error) {
	m, err := recognise(file)
	return m.Type, err
}

func recognise(file *os.File) (Mount, error) {
	m, _, err := readSuperblock(file)
	if err != nil {
		return Mount{}, fault.Errorf(fault.BadImage, "image %s: %w", file.Name(), err)
	}
	return m, nil
}

// readSuperblock tells how to mount file, and the length of the file system. It
// holds that against the file's, because the kernel mounts a squashfs that was
// cut short.
func readSuperblock(file *os.File) (Mount, int64, error) {
	const erofsAt = 1024 // EROFS_SUPER_OFFSET
	block := make([]byte, erofsAt+128)
	n, err := file.ReadAt(block, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Mount{}, 0, fmt.Errorf("read the superblock: %w", err)
	}
	size, _, err := sizeOf(file)
	if err != nil {
		return Mount{}, 0, err
	}
	if n < len(block) {
		return Mount{}, 0, fmt.Errorf("%d bytes are no file system", n)
	}

	var m Mount
	var length uint64
	switch erofs := block[erofsAt:]; {
	case bytes.HasPrefix(block, []byte("hsqs")):
		// bytes_used, Documentation/filesystems/squashfs.rst.
		length = binary.LittleEndian.Uint64(block[40:])
		m = Mount{Type: "squashfs", Options: "ro", Try: "threads=multi"}
	case binary.LittleEndian.Uint32(erofs) == 0xe0f5e1e2:
		// blocks and blkszbits of struct erofs_super_block, fs/erofs/erofs_fs.h.
		length = uint64(binary.LittleEndian.Uint32(erofs[36:])) << (erofs[12] & 31)
		m = Mount{Type: "erofs", Options: "ro"}
	default:
		return Mount{}, 0, fmt.Errorf("neither squashfs nor erofs: it begins with %q", block[:16])
	}
	if length > uint64(size) {
		return Mount{}, 0, fmt.Errorf("cut short: the %s says it has %d bytes, the file has %d", m.Type, length, size)
	}
	return m, int64(length), nil
}
