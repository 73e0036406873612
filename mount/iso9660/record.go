package iso9660

import (
	"encoding/binary"
	"strings"
)

// record is an entry of a folder (ECMA-119, 9.1).
type record struct {
	extent
	name      string
	folder    bool
	continues bool // the next record has more of the same file
	pieces    bool // it is interleaved, or in several pieces
}

// Flags of a record.
const (
	isFolder  = 0x02
	continues = 0x80
)

// parseRecord reads one; ok is false where it is none.
func parseRecord(b []byte) (r record, ok bool) {
	const names = 33
	if len(b) < names || int(b[0]) < names || int(b[0]) > len(b) {
		return r, false
	}
	b = b[:b[0]]
	length := int(b[32])
	if names+length > len(b) {
		return r, false
	}
	r.at = (int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * sector
	r.size = int64(binary.LittleEndian.Uint32(b[10:]))
	r.folder, r.continues = b[25]&isFolder != 0, b[25]&continues != 0
	r.pieces = b[26] != 0 || b[27] != 0
	r.name = string(b[names : names+length])
	if name := rockRidge(b[min(len(b), (names+length+1)&^1):]); name != "" {
		r.name = name
	} else if plain, _, versioned := strings.Cut(r.name, ";"); versioned {
		r.name = strings.TrimSuffix(plain, ".")
	}
	return r, true
}

// rockRidge is the name in the system use area of a record (SUSP 1.12, RRIP
// NM).
func rockRidge(b []byte) (name string) {
	for len(b) >= 5 && int(b[2]) >= 5 && int(b[2]) <= len(b) {
		if entry := b[:b[2]]; string(entry[:2]) == "NM" {
			name += string(entry[5:])
		}
		b = b[b[2]:]
	}
	return name
}

// parseFolder reads the records of a folder, but for itself and its parent. No
// record crosses the end of a sector.
func parseFolder(b []byte) (records []record) {
	for at := 0; at < len(b); {
		rest := b[at:min(len(b), at/sector*sector+sector)]
		r, ok := parseRecord(rest)
		if !ok {
			at += len(rest)
			continue
		}
		at += int(b[at])
		if r.name != "" && r.name != "\x00" && r.name != "\x01" && r.name != "." && r.name != ".." && !strings.Contains(r.name, "/") {
			records = append(records, r)
		}
	}
	return records
}

// joinPieces makes one record of those that a file of 4 GiB or more takes.
func joinPieces(records []record) (joined []record) {
	for i := 0; i < len(records); i++ {
		r := records[i]
		for ; records[i].continues && i+1 < len(records); i++ {
			next := records[i+1]
			r.pieces = r.pieces || next.at != r.at+r.size || next.pieces
			r.size += next.size
		}
		joined = append(joined, r)
	}
	return joined
}
