package mount

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"netstage/mount/dm"
	"netstage/mount/loop"
	"netstage/stage1/fault"
)

// Verity is what dm-verity needs to know to verify every block of an image
// when it is read (kernel: Documentation/admin-guide/device-mapper/verity.rst).
// SHA-256 and hash type 1 only.
type Verity struct {
	// Tree is the hash tree, its superblock in the first hash block.
	Tree           *os.File
	RootHash, Salt []byte
	DataBlockSize  int // bytes, and so is HashBlockSize
	HashBlockSize  int
	DataBlocks     int64
	UUID           [16]byte
	// OnCorruption is RestartOnCorruption, PanicOnCorruption, or "": reading a
	// wrong block is an I/O error.
	OnCorruption string
}

// What the kernel may do on a wrong block, as dm-verity spells it.
const (
	RestartOnCorruption = "restart_on_corruption"
	PanicOnCorruption   = "panic_on_corruption"
)

// verityFailed is the error of an image that could not be put behind dm-verity.
func verityFailed(op string, cause error) *fault.Error {
	text := fmt.Sprintf("dm-verity: %s: %v", op, cause)
	if errors.Is(cause, fs.ErrNotExist) || errors.Is(cause, unix.ENODEV) || errors.Is(cause, unix.EINVAL) {
		text += " (has the kernel dm_mod and dm_verity? pack them into the initrd with --module +dm_verity)"
	}
	return &fault.Error{Class: fault.Verity, Text: text, Cause: cause}
}

// OpenVerityImage is OpenImage with dm-verity between the image and its file
// system: what changes in memory after the image was fetched is found when it
// is read. The device goes away with the last mount of the tree. Both files may
// be closed afterwards.
func OpenVerityImage(file *os.File, v Verity) (*Tree, error) {
	f, err := recognise(file)
	if err != nil {
		return nil, err
	}
	fail := func(op string, err error) (*Tree, error) { return nil, verityFailed(op, err) }
	if v.DataBlockSize > os.Getpagesize() {
		return fail("check the tree", fmt.Errorf("its data blocks of %d bytes are larger than this kernel's pages of %d: make it with blocks of 4096",
			v.DataBlockSize, os.Getpagesize()))
	}
	data, err := loop.Attach(file, true)
	if err != nil {
		return fail("attach the image to a loop device", err)
	}
	defer data.Close()
	tree, err := loop.Attach(v.Tree, true)
	if err != nil {
		return fail("attach the tree to a loop device", err)
	}
	defer tree.Close()
	control, err := os.OpenFile(dm.Control, os.O_RDWR, 0)
	if err != nil {
		return fail("open the device mapper", err)
	}
	defer control.Close()
	table, err := v.over(data, tree)
	if err != nil {
		return fail("find the loop devices", err)
	}
	device, err := dm.Create(control, verityName, v.uuid(), table)
	if err != nil {
		return fail("make the device", err)
	}
	image, err := f.openDevice(device.Path)
	// Gone at once, or with its last user.
	if gone := device.LetGo(control); gone != nil && err == nil {
		return fail("have the device removed with its last user", errors.Join(gone, image.Close()))
	}
	return image, err
}

const verityName = "netstage-image"

// uuid begins as veritysetup's do.
func (v Verity) uuid() string { return fmt.Sprintf("CRYPT-VERITY-%x-", v.UUID) }

// over is the target over an image and a tree that are block devices.
func (v Verity) over(data, tree *os.File) (dm.Table, error) {
	var numbers [2]uint64
	for i, device := range []*os.File{data, tree} {
		var stat unix.Stat_t
		if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
			return dm.Table{}, fmt.Errorf("stat %s: %w", device.Name(), err)
		}
		numbers[i] = stat.Rdev
	}
	return v.Table(numbers[0], numbers[1]), nil
}

// Table is the target over two block devices, by their numbers.
func (v Verity) Table(data, tree uint64) dm.Table {
	salt := "-"
	if len(v.Salt) > 0 {
		salt = hex.EncodeToString(v.Salt)
	}
	const afterSuperblock = 1 // hash block
	params := fmt.Sprintf("1 %s %s %d %d %d %d sha256 %x %s", dm.Number(data), dm.Number(tree), v.DataBlockSize, v.HashBlockSize,
		v.DataBlocks, afterSuperblock, v.RootHash, salt)
	if v.OnCorruption != "" {
		params += " 1 " + v.OnCorruption
	}
	return dm.Table{Sectors: uint64(v.DataBlocks) * uint64(v.DataBlockSize) / 512, Kind: "verity", Params: params}
}
