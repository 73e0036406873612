package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A section is a part of a PE file that the stub finds by its name.
type section struct {
	name string // at most 8 bytes
	code bool   // may be executed in place
	size int64
	open func() (io.ReadCloser, error)
}

// The fields of a PE file that change when sections are added, by their
// offsets: from the COFF header, after the signature, and from the optional
// header (PE format, Microsoft, "Optional Header").
const (
	coffSections   = 2
	coffSymbols    = 8 // their offset and number
	optionalData   = 8
	optionalImage  = 56
	optionalHeader = 60
	optionalCheck  = 64
	optionalDirs   = 112 // of PE32+
	dirSecurity    = 4
	headerSize     = 40 // of a section
)

// pageAlign keeps sections on pages of their own, whatever alignment the stub
// was linked with: firmware sets memory attributes by pages.
const pageAlign = 0x1000

// mostImage is what a PE file's 32-bit addresses reach, with room for the
// firmware to align it.
const mostImage = 1<<32 - 1<<24

// A stub is a PE file that sections can be added to.
type stub struct {
	file     []byte
	optional int // offset of the optional header
	table    int // offset of the section table
	sections int
	dataEnd  int64  // of the file's last section
	end      uint32 // of the memory image
	align    fileAlign
}

type fileAlign struct{ file, memory int64 }

// readStub checks that b is an unsigned PE32+ file with room for more sections.
func readStub(b []byte, more int) (*stub, error) {
	f, err := pe.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not a PE file: %w", err)
	}
	defer f.Close()
	o, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return nil, errors.New("not a 64-bit UEFI program")
	}
	if o.NumberOfRvaAndSizes > dirSecurity && o.DataDirectory[dirSecurity].Size > 0 {
		return nil, errors.New("signed already: its signature would not hold for more sections; give the unsigned stub")
	}
	for _, s := range f.Sections {
		if s.Name == ".linux" {
			return nil, errors.New("holds a kernel already")
		}
	}
	s := &stub{
		file: bytes.Clone(b), sections: len(f.Sections),
		align: fileAlign{file: int64(max(o.FileAlignment, 0x200)), memory: int64(max(o.SectionAlignment, pageAlign))},
	}
	s.optional = int(binary.LittleEndian.Uint32(b[0x3c:])) + 4 + 20
	s.table = s.optional + int(f.FileHeader.SizeOfOptionalHeader)
	first := int64(len(b))
	for _, x := range f.Sections {
		if x.Size > 0 {
			first = min(first, int64(x.Offset))
		}
		s.dataEnd = max(s.dataEnd, int64(x.Offset)+int64(x.Size))
		s.end = max(s.end, x.VirtualAddress+max(x.VirtualSize, x.Size))
	}
	if s.dataEnd > int64(len(b)) {
		return nil, errors.New("cut off: a section ends after the file")
	}
	if room := (int(min(first, int64(o.SizeOfHeaders))) - s.table) / headerSize; room < s.sections+more {
		return nil, fmt.Errorf("room for %d sections, %d are needed", room, s.sections+more)
	}
	return s, nil
}

func up(n, align int64) int64 { return (n + align - 1) / align * align }

// write writes the stub with sections added, in order, and what Windows calls
// its checksum.
func (s *stub) write(w io.WriterAt, added []section) (size int64, err error) {
	le := binary.LittleEndian
	header := s.file[:s.dataEnd]
	offset, address := up(s.dataEnd, s.align.file), up(int64(s.end), s.align.memory)
	type placed struct {
		section
		offset int64
	}
	var all []placed
	var data int64
	for i, x := range added {
		stored := up(x.size, s.align.file)
		if address+x.size > mostImage {
			return 0, fmt.Errorf("%s: a UEFI program is smaller than 4 GiB; fetch the image instead of packing it into the initrd", x.name)
		}
		h := header[s.table+(s.sections+i)*headerSize:][:headerSize]
		clear(h)
		copy(h[:8], x.name)
		le.PutUint32(h[8:], uint32(x.size))
		le.PutUint32(h[12:], uint32(address))
		le.PutUint32(h[16:], uint32(stored))
		le.PutUint32(h[20:], uint32(offset))
		flags := uint32(pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ)
		if x.code {
			flags = pe.IMAGE_SCN_CNT_CODE | pe.IMAGE_SCN_MEM_EXECUTE | pe.IMAGE_SCN_MEM_READ
		}
		le.PutUint32(h[36:], flags)
		all = append(all, placed{x, offset})
		data += stored
		offset, address = offset+stored, up(address+x.size, s.align.memory)
	}
	le.PutUint16(header[s.optional-20+coffSections:], uint16(s.sections+len(added)))
	clear(header[s.optional-20+coffSymbols:][:8]) // they stood after the sections
	le.PutUint32(header[s.optional+optionalData:], le.Uint32(header[s.optional+optionalData:])+uint32(data))
	le.PutUint32(header[s.optional+optionalImage:], uint32(address))
	le.PutUint32(header[s.optional+optionalCheck:], 0)

	sum := &checksum{}
	put := func(p []byte, at int64) error {
		sum.add(p)
		_, err := w.WriteAt(p, at)
		return err
	}
	if err := put(padded(header, s.align.file), 0); err != nil {
		return 0, err
	}
	for _, x := range all {
		if err := copySection(put, x.section, x.offset, s.align.file); err != nil {
			return 0, fmt.Errorf("%s: %w", x.name, err)
		}
	}
	var check [4]byte
	le.PutUint32(check[:], sum.of(offset))
	_, err = w.WriteAt(check[:], int64(s.optional+optionalCheck))
	return offset, err
}

func padded(p []byte, align int64) []byte {
	return append(bytes.Clone(p), make([]byte, up(int64(len(p)), align)-int64(len(p)))...)
}

// copySection copies what a section holds, padded.
func copySection(put func([]byte, int64) error, x section, at, align int64) error {
	in, err := x.open()
	if err != nil {
		return err
	}
	defer in.Close()
	buf := make([]byte, 1<<20) // a multiple of every alignment
	var done int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			p := buf[:n]
			if n < len(buf) {
				p = padded(p, align)
			}
			if err := put(p, at+done); err != nil {
				return err
			}
			done += int64(n)
		}
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF:
			if done != x.size {
				return fmt.Errorf("its size changed from %d to %d bytes while it was read", x.size, done)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// checksum is the sum of a PE file's 16-bit words with the carry added, and its
// size (ImageHlp's CheckSumMappedFile). Everything is added in multiples of two
// bytes, with zeros where the sum itself stands.
type checksum struct{ sum uint32 }

func (c *checksum) add(p []byte) {
	sum := uint64(c.sum)
	for i := 0; i+1 < len(p); i += 2 {
		sum += uint64(binary.LittleEndian.Uint16(p[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	c.sum = uint32(sum)
}

func (c *checksum) of(size int64) uint32 { return c.sum + uint32(size) }
