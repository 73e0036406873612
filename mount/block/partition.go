package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Partition is what a partition table says of one of its partitions.
type Partition struct {
	UUID  string // PARTUUID: GPT's, or SIGNATURE-NN of an MBR
	Label string // PARTLABEL, of a GPT alone
}

// Partitions reads a disk's partition table, GPT or MBR, and returns its
// partitions by the kernel's numbers. sector is the size of a logical block.
// No table is no error; the error is the disk's.
func Partitions(disk io.ReaderAt, sector int) (map[int]Partition, error) {
	if sector < 512 || sector > 4096 {
		sector = 512
	}
	b := make([]byte, 2*sector)
	if n, err := disk.ReadAt(b, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		if errors.Is(err, io.EOF) {
			return nil, nil // too small for a table
		}
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	if parts, ok, err := readGPT(disk, b[sector:], int64(sector)); ok || err != nil {
		return parts, err
	}
	return readMBR(disk, b, int64(sector))
}

// readGPT reads a GUID Partition Table (UEFI specification, 5.3) by its first
// header.
func readGPT(disk io.ReaderAt, header []byte, sector int64) (map[int]Partition, bool, error) {
	if !bytes.HasPrefix(header, []byte("EFI PART")) {
		return nil, false, nil
	}
	at := int64(binary.LittleEndian.Uint64(header[72:]))
	count, size := int64(binary.LittleEndian.Uint32(header[80:])), int64(binary.LittleEndian.Uint32(header[84:]))
	if at < 2 || at > 1<<40 || size < 128 || size > 4096 || count > 1024 {
		return nil, true, nil
	}
	table := make([]byte, count*size)
	if n, err := disk.ReadAt(table, at*sector); err != nil && !(errors.Is(err, io.EOF) && n == len(table)) {
		return nil, true, fmt.Errorf("read the GPT: %w", err)
	}
	parts := map[int]Partition{}
	for i := range count {
		e := table[i*size:][:size]
		if uuid(e) == "" { // its type: unused
			continue
		}
		parts[int(i)+1] = Partition{UUID: guid(e[16:]), Label: utf16Text(e[56:128])}
	}
	return parts, true, nil
}

// guid is a GUID in text, whose first three fields are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// readMBR reads the four primary partitions and the chain of logical ones.
func readMBR(disk io.ReaderAt, b []byte, sector int64) (map[int]Partition, error) {
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, nil
	}
	signature := binary.LittleEndian.Uint32(b[0x1b8:])
	parts := map[int]Partition{}
	add := func(number int) {
		parts[number] = Partition{UUID: fmt.Sprintf("%08x-%02x", signature, number)}
	}
	extended := int64(0)
	for i := range 4 {
		e := b[0x1be+16*i:][:16]
		if e[4] == 0 {
			continue
		}
		add(i + 1)
		if isExtended(e[4]) && extended == 0 {
			extended = int64(binary.LittleEndian.Uint32(e[8:]))
		}
	}
	const most = 256 // DISK_MAX_PARTS
	link := make([]byte, 512)
	for next, number := extended, 5; next != 0 && number < most; number++ {
		if _, err := disk.ReadAt(link, next*sector); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the logical partitions: %w", err)
		}
		if link[510] != 0x55 || link[511] != 0xaa {
			break
		}
		if link[0x1be+4] != 0 {
			add(number)
		}
		second := link[0x1be+16:][:16]
		if !isExtended(second[4]) {
			break
		}
		next = extended + int64(binary.LittleEndian.Uint32(second[8:]))
	}
	return parts, nil
}

func isExtended(kind byte) bool { return kind == 0x05 || kind == 0x0f || kind == 0x85 }
