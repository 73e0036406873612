// Package fake makes kernel modules for tests: files that say what they are,
// and that no kernel would load.
package fake

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// Module is an ELF object for x86-64 with nothing but a .modinfo section of
// these "key=value" words.
func Module(modinfo ...string) []byte { return ModuleFor(elf.EM_X86_64, nil, modinfo...) }

// ModuleFor is one for another machine, which uses symbols of other modules.
func ModuleFor(machine elf.Machine, imports []string, modinfo ...string) []byte {
	info := []byte(strings.Join(modinfo, "\x00") + "\x00")
	const names = "\x00.modinfo\x00.shstrtab\x00.symtab\x00.strtab\x00"
	symbolNames := "\x00"
	symbols := make([]byte, 24) // the first one is none
	for _, symbol := range imports {
		s := make([]byte, 24)
		binary.LittleEndian.PutUint32(s, uint32(len(symbolNames)))
		s[4] = 1 << 4 // global
		symbols = append(symbols, s...)
		symbolNames += symbol + "\x00"
	}
	parts := []struct {
		name, kind uint32
		link, info uint32
		entry      uint64
		data       []byte
	}{
		{name: 1, kind: uint32(elf.SHT_PROGBITS), data: info},
		{name: 10, kind: uint32(elf.SHT_STRTAB), data: []byte(names)},
		{name: 20, kind: uint32(elf.SHT_SYMTAB), link: 4, info: 1, entry: 24, data: symbols},
		{name: 28, kind: uint32(elf.SHT_STRTAB), data: []byte(symbolNames)},
	}
	total := 64
	for _, p := range parts {
		total += len(p.data)
	}
	var b bytes.Buffer
	w := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	w([]uint16{uint16(elf.ET_REL), uint16(machine)})
	w(uint32(1))
	w([]uint64{0, 0, uint64(total)})
	w(uint32(0))
	w([]uint16{64, 0, 0, 64, uint16(len(parts) + 1), 2})
	for _, p := range parts {
		b.Write(p.data)
	}
	b.Write(make([]byte, 64))
	at := uint64(64)
	for _, p := range parts {
		w([]uint32{p.name, p.kind})
		w([]uint64{0, 0, at, uint64(len(p.data))})
		w([]uint32{p.link, p.info})
		w([]uint64{1, p.entry})
		at += uint64(len(p.data))
	}
	return b.Bytes()
}
