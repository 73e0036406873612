package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"netstage/mount/iso9660"
	"netstage/mount/loop"
	"netstage/stage1/fault"
)

// LengthOf is how many bytes of a file are the image: all, but of a block
// device what its file system says, in whole pages as mksquashfs pads it.
func LengthOf(file *os.File) (int64, error) {
	size, device, err := sizeOf(file)
	if err != nil || !device {
		return size, err
	}
	length, err := lengthOnDevice(file, size)
	return min(size, length), err
}

func lengthOnDevice(file *os.File, size int64) (int64, error) {
	if iso9660.Is(file) {
		v, err := iso9660.Open(file)
		if err != nil {
			return 0, fault.Errorf(fault.BadImage, "image %s: %w", file.Name(), err)
		}
		return v.Size, nil
	}
	_, length, err := readSuperblock(file, size)
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

// OpenImage mounts the squashfs or erofs in file, or in the ISO image that file
// is, read-only and attached nowhere. squashfs decompresses on every processor
// where the kernel can (threads=multi, Linux 6.2). The file may be closed
// afterwards.
func OpenImage(file *os.File) (*Tree, error) {
	f, err := recognise(file)
	if err != nil {
		return nil, err
	}
	return f.open(file)
}

// TypeOf is the type of the file system in file, "squashfs" or "erofs", and its
// path in the ISO image that file is, if it is one.
func TypeOf(file *os.File) (kind, inside string, err error) {
	f, err := recognise(file)
	return f.Type, f.inside, err
}

// found is a file system that may be a system's image.
type found struct {
	Mount
	inside   string // its path in an ISO image; empty: it is the file's whole
	at, size int64  // where it is in that
}

func recognise(file *os.File) (found, error) {
	size, _, err := sizeOf(file)
	if err != nil {
		return found{}, err
	}
	if iso9660.Is(file) {
		f, err := insideISO(file, size)
		if err != nil {
			return found{}, fault.Errorf(fault.BadImage, "image %s: %w", file.Name(), err)
		}
		return f, nil
	}
	m, _, err := readSuperblock(file, size)
	if err != nil {
		return found{}, fault.Errorf(fault.BadImage, "image %s: %w", file.Name(), err)
	}
	return found{Mount: m}, nil
}

// storeInISO is where nixpkgs' iso-image.nix puts the store.
const storeInISO = "/nix-store.squashfs"

// insideISO finds the image in an ISO image: the only one, or the store. It is
// used where it lies, without the kernel's driver and a second cache of it.
func insideISO(file *os.File, size int64) (found, error) {
	v, err := iso9660.Open(file)
	if err != nil {
		return found{}, err
	}
	files, err := v.Files()
	if err != nil {
		return found{}, err
	}
	var all []found
	var names []string
	for _, f := range files {
		if f.Offset+f.Size > size {
			continue
		}
		m, _, err := readSuperblock(io.NewSectionReader(file, f.Offset, f.Size), f.Size)
		if err != nil {
			continue
		}
		one := found{m, f.Path, f.Offset, f.Size}
		if f.Path == storeInISO {
			return one, nil
		}
		all, names = append(all, one), append(names, f.Path)
	}
	switch len(all) {
	case 0:
		return found{}, errors.New("an ISO image without a squashfs or erofs in it")
	case 1:
		return all[0], nil
	}
	return found{}, fmt.Errorf("an ISO image with several images in it: %s; give the right one instead", strings.Join(names, ", "))
}

// open mounts it; file is what it was found in.
func (f found) open(file *os.File) (*Tree, error) {
	_, device, err := sizeOf(file)
	if err != nil {
		return nil, err
	}
	if device && f.inside == "" {
		f.Source = file.Name()
		return f.Open()
	}
	part := loop.Part{}
	if f.inside != "" {
		const sector = 512
		part = loop.Part{Offset: f.at, Size: (f.size + sector - 1) &^ (sector - 1)}
	}
	attached, err := loop.AttachPart(file, true, part)
	if err != nil {
		return nil, fmt.Errorf("attach %s to a loop device: %w", file.Name(), err)
	}
	defer attached.Close()
	f.Source = attached.Name()
	return f.Open()
}

// openDevice is open for a block device with the same bytes.
func (f found) openDevice(name string) (*Tree, error) {
	device, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	return f.open(device)
}

// readSuperblock tells how to mount what r has, and the length of the file
// system. It holds that against size, because the kernel mounts a squashfs that
// was cut short.
func readSuperblock(r io.ReaderAt, size int64) (Mount, int64, error) {
	const erofsAt = 1024 // EROFS_SUPER_OFFSET
	block := make([]byte, erofsAt+128)
	n, err := r.ReadAt(block, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Mount{}, 0, fmt.Errorf("read the superblock: %w", err)
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
		// blocks and blkszbits of struct erofs_super_block,
		// fs/erofs/erofs_fs.h.
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
