package block

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"unicode/utf16"
)

// readUDF looks for the volume recognition sequence (ECMA-167, 2/8), of which
// the parts are 2 KiB apart.
func readUDF(b []byte) (Content, bool) {
	for ; len(b) >= 2048; b = b[2048:] {
		switch string(b[1:6]) {
		case "NSR02", "NSR03":
			return Content{Type: "udf"}, true
		case "BEA01", "BOOT2", "CD001", "CDW02", "TEA01":
		default:
			return Content{}, false
		}
	}
	return Content{}, false
}

// udfNames reads the name of the logical volume and the identity that blkid(8)
// makes of the volume set's: by the anchor, in the sector 256, and the volume
// descriptors that it points to (3/8.4, 3/10.1, 3/10.6).
func udfNames(device io.ReaderAt) (label, uuid string) {
	const primary, anchor, logical, terminator = 1, 2, 6, 8
	for _, sector := range []int64{2048, 512, 4096, 1024} {
		b := make([]byte, 512)
		tag := func(at int64) (uint16, bool) {
			_, err := device.ReadAt(b, at*sector)
			return binary.LittleEndian.Uint16(b), err == nil
		}
		if kind, ok := tag(256); !ok || kind != anchor {
			continue
		}
		length, first := int64(binary.LittleEndian.Uint32(b[16:])), int64(binary.LittleEndian.Uint32(b[20:]))
		for i := range min(length/sector, 64) {
			kind, ok := tag(first + i)
			if !ok || kind == terminator || kind == 0 {
				break
			}
			switch {
			case kind == logical && label == "":
				label = dstring(b[84 : 84+128])
			case kind == primary && uuid == "":
				uuid = udfUUID(dstring(b[72 : 72+128]))
			}
		}
		return label, uuid
	}
	return "", ""
}

// udfUUID is the identity that a volume set's identifier begins with: 16 hex
// digits, or fewer of them, or none, with the bytes in their place.
func udfUUID(set string) string {
	if len(set) < 8 {
		return ""
	}
	b := append([]byte(set), make([]byte, 8)...)[:16]
	digits := bytes.IndexFunc(b, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })
	switch {
	case digits < 0:
		return strings.ToLower(string(b))
	case digits >= 8:
		return strings.ToLower(string(b[:8])) + hex.EncodeToString(b[8:12])
	}
	return hex.EncodeToString(b[:8])
}

// dstring is text of OSTA CS0 (UDF 2.1.3): its last byte is its length, its
// first says how many bits a character has.
func dstring(b []byte) string {
	length := int(b[len(b)-1])
	if length < 1 || length > len(b)-1 {
		return ""
	}
	switch text := b[1:length]; b[0] {
	case 8, 254:
		runes := make([]rune, len(text))
		for i, c := range text {
			runes[i] = rune(c)
		}
		return string(bytes.TrimRight([]byte(string(runes)), "\x00 "))
	case 16, 255:
		var units []uint16
		for ; len(text) > 1; text = text[2:] {
			units = append(units, binary.BigEndian.Uint16(text))
		}
		return string(utf16.Decode(units))
	}
	return ""
}
