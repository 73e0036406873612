// Package block finds block devices as /dev/disk/by-… names them, without a
// udev: by what their superblocks and partition tables say.
package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Content is what a device holds, in the words of blkid(8).
type Content struct {
	Type  string // "ext4", "vfat", "swap", "crypto_LUKS", …; "" where nothing was recognised
	Label string
	UUID  string

	devices int // of a btrfs: how many it is on
}

// window is how much of a device's start is looked at: up to the end of the
// superblock of btrfs, the last one.
const window = 0x10000 + 0x1000

// Probe tells what a device of that many bytes holds. What is shorter than a
// superblock, or none, is no error; the error is the device's.
func Probe(device io.ReaderAt, size int64) (Content, error) {
	b := make([]byte, min(window, max(size, 0)))
	if n, err := device.ReadAt(b, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return Content{}, fmt.Errorf("read the first %d KiB: %w", len(b)>>10, err)
	}
	// A part of a RAID has the superblock of the whole, too: first what only
	// parts have.
	if raid, err := isRAID(b, device, size); err != nil || raid {
		return Content{Type: "linux_raid_member"}, err
	}
	for _, f := range formats {
		if f.at+f.length > len(b) {
			continue
		}
		if c, ok := f.read(b[f.at:]); ok {
			switch c.Type {
			case "vfat":
				if label, ok := rootDirLabel(device, b); ok {
					c.Label = label
				}
			case "exfat":
				c.Label = exFATLabel(device, b)
			case "ntfs":
				c.Label = ntfsLabel(device, b)
			case "udf":
				c.Label, c.UUID = udfNames(device)
			}
			return c, nil
		}
	}
	return Content{}, nil
}

// A format is recognised by the bytes at one place, length of them at least.
type format struct {
	at, length int
	read       func(b []byte) (Content, bool)
}

// formats are in an order in which the ones that overwrite the least of what
// was there before come last.
var formats = []format{
	{0, 208, readLUKS},
	{0, 4 * 512, readLVM},
	{0, 128, readXFS},
	{0, 96, readSquashfs},
	{0x10000, 0x22b, readBtrfs},
	{1024, 264, readExt},
	{1024, 128, readErofs},
	{1024, 124 + 1024, readF2FS},
	{0x8000, 0x2000, readUDF}, // may have an ISO 9660 as well
	{0x8000, 0x340, readISO9660},
	{0, 4096, readSwap},
	{0, 512, readExFAT},
	{0, 512, readNTFS},
	{0, 512, readFAT},
}

func uuid(b []byte) string {
	if bytes.Count(b[:16], []byte{0}) == 16 {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// text is a label: up to the first NUL, without blanks at its end.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimRight(strings.ToValidUTF8(string(b), "_"), " ")
}

func utf16Text(b []byte) string {
	var units []uint16
	for ; len(b) > 1; b = b[2:] {
		unit := binary.LittleEndian.Uint16(b)
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units))
}

// readExt reads struct ext4_super_block (Documentation/filesystems/ext4). An
// external journal is none to mount.
func readExt(b []byte) (Content, bool) {
	const (
		hasJournal = 0x4           // compatible features
		journalDev = 0x8           // incompatible ones
		ext3       = 0x2 | 0x4     // of those, what ext3 knows: filetype, recover
		ext3RO     = 0x1 | 0x2 | 4 // sparse_super, large_file, btree_dir
		metaBG     = 0x10          // incompatible, but ext3 knows it
	)
	if binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		return Content{}, false
	}
	compat, incompat, ro := binary.LittleEndian.Uint32(b[0x5c:]), binary.LittleEndian.Uint32(b[0x60:]), binary.LittleEndian.Uint32(b[0x64:])
	c := Content{Type: "ext4", UUID: uuid(b[0x68:]), Label: text(b[0x78:0x88])}
	switch {
	case incompat&journalDev != 0:
		c.Type = "jbd"
	case incompat&^(ext3|metaBG) != 0 || ro&^ext3RO != 0:
	case compat&hasJournal != 0:
		c.Type = "ext3"
	case incompat&0x4 == 0:
		c.Type = "ext2"
	}
	return c, true
}

// readXFS reads struct xfs_dsb (fs/xfs/libxfs/xfs_format.h).
func readXFS(b []byte) (Content, bool) {
	if !bytes.HasPrefix(b, []byte("XFSB")) {
		return Content{}, false
	}
	return Content{Type: "xfs", UUID: uuid(b[32:]), Label: text(b[108:120])}, true
}

// readBtrfs reads struct btrfs_super_block. Its fsid is the file system's, the
// same on each of its devices.
func readBtrfs(b []byte) (Content, bool) {
	if !bytes.HasPrefix(b[0x40:], []byte("_BHRfS_M")) {
		return Content{}, false
	}
	return Content{Type: "btrfs", UUID: uuid(b[0x20:]), Label: text(b[0x12b:0x22b]), devices: devicesOf(b)}, true
}

// readSquashfs reads the squashfs 4 superblock, which has neither label nor
// UUID.
func readSquashfs(b []byte) (Content, bool) {
	return Content{Type: "squashfs"}, bytes.HasPrefix(b, []byte("hsqs")) && binary.LittleEndian.Uint16(b[28:]) == 4
}

// readErofs reads struct erofs_super_block (fs/erofs/erofs_fs.h).
func readErofs(b []byte) (Content, bool) {
	if binary.LittleEndian.Uint32(b) != 0xe0f5e1e2 {
		return Content{}, false
	}
	return Content{Type: "erofs", UUID: uuid(b[48:]), Label: text(b[64:80])}, true
}

// readISO9660 reads the primary volume descriptor (ECMA-119, 8.4). blkid's
// UUID is the time of the last change, or else of the making.
func readISO9660(b []byte) (Content, bool) {
	if b[0] != 1 || !bytes.HasPrefix(b[1:], []byte("CD001")) {
		return Content{}, false
	}
	c := Content{Type: "iso9660", Label: text(b[40:72])}
	for _, at := range []int{830, 813} {
		d := b[at : at+16]
		if bytes.ContainsFunc(d, func(r rune) bool { return r < '0' || r > '9' }) || bytes.Count(d, []byte("0")) == 16 {
			continue
		}
		c.UUID = fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16])
		break
	}
	return c, true
}

// readSwap reads union swap_header (include/linux/swap.h). Its magic is at the
// end of the first page, whose size is the machine's.
func readSwap(b []byte) (Content, bool) {
	for page := 4096; page <= len(b); page *= 2 {
		switch string(b[page-10 : page]) {
		case "SWAPSPACE2":
			return Content{Type: "swap", UUID: uuid(b[1024+12:]), Label: text(b[1024+28 : 1024+44])}, true
		case "S1SUSPEND\x00", "S2SUSPEND\x00", "ULSUSPEND\x00":
			return Content{Type: "swsuspend", UUID: uuid(b[1024+12:]), Label: text(b[1024+28 : 1024+44])}, true
		}
	}
	return Content{}, false
}

// readLUKS reads struct luks_phdr or luks2_hdr_disk (cryptsetup).
func readLUKS(b []byte) (Content, bool) {
	if !bytes.HasPrefix(b, []byte("LUKS\xba\xbe")) {
		return Content{}, false
	}
	c := Content{Type: "crypto_LUKS", UUID: text(b[168:208])}
	if b[7] == 2 {
		c.Label = text(b[24:72])
	}
	return c, true
}

// readLVM reads the label of a physical volume, in one of the first sectors.
func readLVM(b []byte) (Content, bool) {
	for b = b[:4*512]; len(b) > 0; b = b[512:] {
		if bytes.HasPrefix(b, []byte("LABELONE")) && bytes.HasPrefix(b[24:], []byte("LVM2 001")) {
			return Content{Type: "LVM2_member"}, true
		}
	}
	return Content{}, false
}

// isRAID looks for the superblock of md (include/uapi/linux/raid/md_p.h): of
// version 1.1 at the start, 1.2 at 4 KiB, 1.0 and 0.90 at the end.
func isRAID(b []byte, device io.ReaderAt, size int64) (bool, error) {
	magic := []byte{0xfc, 0x4e, 0x2b, 0xa9}
	for _, at := range []int{0, 4096} {
		if len(b) >= at+4 && bytes.Equal(b[at:at+4], magic) {
			return true, nil
		}
	}
	for _, at := range []int64{(size - 8<<10) &^ 4095, size&^(64<<10-1) - 64<<10} {
		if at < window {
			continue
		}
		var end [4]byte
		if _, err := device.ReadAt(end[:], at); err != nil {
			return false, fmt.Errorf("read 4 bytes at %d: %w", at, err)
		}
		if bytes.Equal(end[:], magic) {
			return true, nil
		}
	}
	return false, nil
}
