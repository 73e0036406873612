// Package fake makes kernel modules for tests: files that say what they are, and that no kernel would load.
package fake

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Module is an ELF object with nothing but a .modinfo section of these "key=value" words.
func Module(modinfo ...string) []byte {
	info := []byte(strings.Join(modinfo, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	var b bytes.Buffer
	w := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	w([]uint16{1, 62})
	w(uint32(1))
	w([]uint64{0, 0, uint64(64 + len(info) + len(names))})
	w(uint32(0))
	w([]uint16{64, 0, 0, 64, 3, 2})
	b.Write(info)
	b.Write(names)
	section := func(name, kind uint32, off, size int) {
		w([]uint32{name, kind})
		w([]uint64{0, 0, uint64(off), uint64(size)})
		w([]uint32{0, 0})
		w([]uint64{1, 0})
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(info))
	section(10, 3, 64+len(info), len(names))
	return b.Bytes()
}
