package block

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// readF2FS reads struct f2fs_super_block (include/linux/f2fs_fs.h).
func readF2FS(b []byte) (Content, bool) {
	if binary.LittleEndian.Uint32(b) != 0xf2f52010 {
		return Content{}, false
	}
	return Content{Type: "f2fs", UUID: uuid(b[108:]), Label: utf16Text(b[124 : 124+1024])}, true
}

// readExFAT reads the boot sector (Microsoft's exFAT file system specification,
// 3.1).
func readExFAT(b []byte) (Content, bool) {
	if !bytes.HasPrefix(b[3:], []byte("EXFAT   ")) || b[510] != 0x55 || b[511] != 0xaa {
		return Content{}, false
	}
	serial := binary.LittleEndian.Uint32(b[100:])
	return Content{Type: "exfat", UUID: fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff)}, true
}

// exFATLabel finds the volume's label in the root folder (7.3).
func exFATLabel(device io.ReaderAt, b []byte) string {
	sector, cluster := uint(b[108]), uint(b[109])
	if sector < 9 || sector > 12 || sector+cluster > 25 {
		return ""
	}
	first := int64(binary.LittleEndian.Uint32(b[96:])) - 2
	if first < 0 {
		return ""
	}
	at := int64(binary.LittleEndian.Uint32(b[88:]))<<sector + first<<(sector+cluster)
	dir := make([]byte, min(1<<(sector+cluster), 64<<10))
	n, err := device.ReadAt(dir, at)
	if err != nil && err != io.EOF {
		return ""
	}
	const label = 0x83
	for dir = dir[:n]; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
		if dir[0] == label {
			return utf16Text(dir[2 : 2+2*min(int(dir[1]), 11)])
		}
	}
	return ""
}

// readNTFS reads the boot sector (linux: fs/ntfs3/ntfs.h).
func readNTFS(b []byte) (Content, bool) {
	if !bytes.HasPrefix(b[3:], []byte("NTFS    ")) {
		return Content{}, false
	}
	return Content{Type: "ntfs", UUID: fmt.Sprintf("%016X", binary.LittleEndian.Uint64(b[72:]))}, true
}

// ntfsLabel reads the name in the record of $Volume, the fourth of the master
// file table.
func ntfsLabel(device io.ReaderAt, b []byte) string {
	sector, cluster := int64(binary.LittleEndian.Uint16(b[11:])), int64(b[13])
	if cluster > 128 { // a power of two, negative
		cluster = 1 << (256 - cluster)
	}
	size := int64(int8(b[64])) * sector * cluster
	if size < 0 {
		size = 1 << -int8(b[64])
	}
	table := int64(binary.LittleEndian.Uint64(b[48:]))
	if sector < 256 || sector > 4096 || cluster == 0 || cluster > 1<<13 || size < 512 || size > 64<<10 || table < 0 || table > 1<<40 {
		return ""
	}
	record := make([]byte, size)
	if n, err := device.ReadAt(record, table*sector*cluster+3*size); int64(n) < size || err != nil && err != io.EOF {
		return ""
	}
	const name, end = 0x60, 0xffffffff
	if !bytes.HasPrefix(record, []byte("FILE")) {
		return ""
	}
	for at := int64(binary.LittleEndian.Uint16(record[20:])); at+24 <= size; {
		kind, length := binary.LittleEndian.Uint32(record[at:]), int64(binary.LittleEndian.Uint32(record[at+4:]))
		if kind == end || length < 24 || at+length > size {
			return ""
		}
		if kind == name {
			from, count := at+int64(binary.LittleEndian.Uint16(record[at+20:])), int64(binary.LittleEndian.Uint32(record[at+16:]))
			if from+count > at+length {
				return ""
			}
			return utf16Text(record[from : from+count])
		}
		at += length
	}
	return ""
}
