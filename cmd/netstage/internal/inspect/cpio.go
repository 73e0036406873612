package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// header is the fixed part of an entry in newc format (Linux:
// Documentation/driver-api/early-userspace/ buffer-format.rst): a magic and
// thirteen numbers of eight hex digits.
const (
	headerSize = 6 + 13*8
	mostName   = 4096 // PATH_MAX, as the kernel has it
	trailer    = "TRAILER!!!"
)

// entry is one of an archive.
type entry struct {
	name string
	mode uint32 // with the type, as stat(2) has it
	size int64  // bytes
}

// cpioReader reads one archive and counts what it has read. The archive begins
// at a multiple of four of its stream.
type cpioReader struct {
	r   io.Reader
	pos int64
}

func (c *cpioReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.pos += int64(n)
	return n, err
}

// align passes over the zeros that end a name or a file.
func (c *cpioReader) align() error { return c.skip(-c.pos & 3) }

func (c *cpioReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, c, n)
	return short(err)
}

// each calls f for every entry up to the trailer. What f leaves of an entry's
// data is passed over.
func (c *cpioReader) each(f func(e entry, data io.Reader) error) error {
	for {
		at := c.pos
		e, err := c.next()
		if err != nil {
			return fmt.Errorf("the archive at byte %d: %w", at, err)
		}
		if e.name == trailer {
			return nil
		}
		data := &io.LimitedReader{R: c, N: e.size}
		if err := f(e, data); err != nil {
			return fmt.Errorf("/%s: %w", e.name, short(err))
		}
		if err := c.skip(data.N); err != nil {
			return fmt.Errorf("/%s: %w", e.name, err)
		}
		if err := c.align(); err != nil {
			return fmt.Errorf("/%s: %w", e.name, err)
		}
	}
}

func (c *cpioReader) next() (entry, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return entry{}, short(err)
	}
	if !isCpio(h[:]) {
		return entry{}, fmt.Errorf("no entry in newc format, but %q", h[:6])
	}
	var numbers [13]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(string(h[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return entry{}, fmt.Errorf("a header with a wrong number, %q", h[6+8*i:14+8*i])
		}
		numbers[i] = n
	}
	mode, size, nameSize := numbers[1], numbers[6], numbers[11]
	if nameSize == 0 || nameSize > mostName {
		return entry{}, fmt.Errorf("a name of %d bytes", nameSize)
	}
	name := make([]byte, nameSize)
	if _, err := io.ReadFull(c, name); err != nil {
		return entry{}, short(err)
	}
	name, _, _ = bytes.Cut(name, []byte{0})
	return entry{name: string(name), mode: uint32(mode), size: int64(size)}, c.align()
}

// isCpio tells whether b begins an entry in newc format, with checksums or
// without.
func isCpio(b []byte) bool {
	return bytes.HasPrefix(b, []byte("070701")) || bytes.HasPrefix(b, []byte("070702"))
}

// short says plainly what an end in the middle is.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut short")
	}
	return err
}
