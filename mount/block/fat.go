package block

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// bpb is what the boot sector of a FAT says of its layout (Microsoft's
// Extensible Firmware Initiative FAT32 File System Specification).
type bpb struct {
	sector, cluster, reserved, fats, entries, fatSectors, root int64
	fat32                                                      bool
}

func readBPB(b []byte) (bpb, bool) {
	p := bpb{
		sector: int64(binary.LittleEndian.Uint16(b[11:])), cluster: int64(b[13]),
		reserved: int64(binary.LittleEndian.Uint16(b[14:])), fats: int64(b[16]),
		entries: int64(binary.LittleEndian.Uint16(b[17:])), fatSectors: int64(binary.LittleEndian.Uint16(b[22:])),
	}
	powerOfTwo := func(n int64) bool { return n > 0 && n&(n-1) == 0 }
	if b[510] != 0x55 || b[511] != 0xaa || !powerOfTwo(p.sector) || p.sector < 512 || p.sector > 4096 ||
		!powerOfTwo(p.cluster) || p.reserved == 0 || p.fats == 0 || p.fats > 4 || b[21] < 0xf0 {
		return bpb{}, false
	}
	if p.fat32 = p.fatSectors == 0; p.fat32 {
		p.fatSectors, p.root = int64(binary.LittleEndian.Uint32(b[36:])), int64(binary.LittleEndian.Uint32(b[44:]))
	}
	// A boot sector of a disk may look like one; its type's name is at one of
	// two places in any FAT that was made in this century.
	name := b[54:62]
	if p.fat32 {
		name = b[82:90]
	}
	return p, bytes.HasPrefix(name, []byte("FAT"))
}

func readFAT(b []byte) (Content, bool) {
	p, ok := readBPB(b)
	if !ok {
		return Content{}, false
	}
	id := b[39:54]
	if p.fat32 {
		id = b[67:82]
	}
	c := Content{Type: "vfat", Label: fatLabel(id[4:15])}
	if serial := binary.LittleEndian.Uint32(id); serial != 0 {
		c.UUID = fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff)
	}
	return c, true
}

func fatLabel(b []byte) string {
	label := text(b)
	if label == "NO NAME" {
		return ""
	}
	return label
}

// rootDirLabel finds the volume's entry in the root directory, which counts
// more than the boot sector's.
func rootDirLabel(device io.ReaderAt, b []byte) (string, bool) {
	p, ok := readBPB(b)
	if !ok {
		return "", false
	}
	at := (p.reserved + p.fats*p.fatSectors) * p.sector
	length := p.entries * 32
	if p.fat32 {
		// The label is in the first cluster unless somebody filled the folder
		// before naming the volume.
		at += (p.entries*32 + p.sector - 1) / p.sector * p.sector
		at += (p.root - 2) * p.cluster * p.sector
		length = p.cluster * p.sector
	}
	if at <= 0 {
		return "", false
	}
	dir := make([]byte, min(length, 64<<10))
	n, err := device.ReadAt(dir, at)
	if err != nil && err != io.EOF {
		return "", false
	}
	const deleted, volume, longName = 0xe5, 0x08, 0x0f
	for dir = dir[:n]; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
		if attr := dir[11]; dir[0] != deleted && attr&longName != longName && attr&volume != 0 {
			return strings.TrimRight(fatLabel(dir[:11]), " "), true
		}
	}
	return "", false
}
