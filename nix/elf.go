package nix

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
)

const elfMagic = "\x7fELF"

// machines are the values of e_machine (elf(5)) that a kernel for GOARCH can
// run, the native one first.
var machines = map[string][]uint16{
	"amd64": {62, 3},   // x86-64, i386
	"arm64": {183, 40}, // AArch64, ARM
}

// headers says where the two classes of ELF keep the fields that matter here.
type headers struct {
	phoff, phentsize, phnum, size int // in the file header
	offset, filesz                int // in a program header
	word                          int // bytes of an offset
}

var (
	elf32 = headers{phoff: 28, phentsize: 42, phnum: 44, size: 52, offset: 4, filesz: 16, word: 4}
	elf64 = headers{phoff: 32, phentsize: 54, phnum: 56, size: 64, offset: 8, filesz: 32, word: 8}
)

// loader returns the dynamic loader that a little-endian ELF program asks for
// (PT_INTERP), or "" for a static one. A program of another machine is an
// error. The standard library's debug/elf would do, and would add 120 kB to
// the agent.
func loader(file io.ReaderAt) (string, error) {
	start := make([]byte, elf64.size)
	if _, err := file.ReadAt(start, 0); err != nil {
		return "", fmt.Errorf("read the ELF header: %w", err)
	}
	h := elf64
	switch {
	case start[5] != 1:
		return "", fmt.Errorf("a big-endian program")
	case start[4] == 1:
		h = elf32
	case start[4] != 2:
		return "", fmt.Errorf("ELF class %d", start[4])
	}
	if machine := binary.LittleEndian.Uint16(start[18:]); !slices.Contains(machines[runtime.GOARCH], machine) {
		return "", fmt.Errorf("a program for another machine (e_machine %d, this is %s)", machine, runtime.GOARCH)
	}

	const ptInterp, pathMax = 3, 4096
	at, count := h.uint(start[h.phoff:]), int(binary.LittleEndian.Uint16(start[h.phnum:]))
	entry := make([]byte, max(int(binary.LittleEndian.Uint16(start[h.phentsize:])), h.filesz+h.word))
	for i := range count {
		if _, err := file.ReadAt(entry, int64(at)+int64(i*len(entry))); err != nil {
			return "", fmt.Errorf("read program header %d: %w", i, err)
		}
		if binary.LittleEndian.Uint32(entry) != ptInterp {
			continue
		}
		size := h.uint(entry[h.filesz:])
		if size > pathMax {
			return "", fmt.Errorf("its dynamic loader's name has %d bytes", size)
		}
		name := make([]byte, size)
		if _, err := file.ReadAt(name, int64(h.uint(entry[h.offset:]))); err != nil {
			return "", fmt.Errorf("read the dynamic loader's name: %w", err)
		}
		return string(bytes.TrimRight(name, "\x00")), nil
	}
	return "", nil
}

func (h headers) uint(b []byte) uint64 {
	if h.word == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}
