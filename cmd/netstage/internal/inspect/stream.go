package inspect

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// An initrd is any number of archives one after the other, each compressed or
// not, with zeros between them (Linux: init/initramfs.c).

// compressions are those that are known by their first bytes; what has no
// reader here has the program that unpacks it.
var compressions = []struct{ name, magic, program string }{
	{"zstd", "\x28\xb5\x2f\xfd", ""},
	{"gzip", "\x1f\x8b", ""},
	{"xz", "\xfd7zXZ\x00", ""},
	{"lz4", "\x02\x21\x4c\x18", "lz4cat"},
	{"bzip2", "BZh", "bzcat"},
	{"lzma", "\x5d\x00\x00", "lzcat"},
	{"lzo", "\x89LZO\x00", "lzop -dc"},
}

// compressionOf names the compression of what begins with b, "cpio" for an
// archive without any, "" for neither.
func compressionOf(b []byte) (name, program string) {
	if isCpio(b) {
		return "cpio", ""
	}
	for _, c := range compressions {
		if bytes.HasPrefix(b, []byte(c.magic)) {
			return c.name, c.program
		}
	}
	return "", ""
}

// An UnseenError says that from this byte of an initrd on the kernel sees
// nothing: it looks for archives that are not compressed at multiples of four
// alone.
type UnseenError int64

func (e UnseenError) Error() string {
	return fmt.Sprintf("the kernel sees nothing from byte %d on: an archive begins there, and not at a multiple of 4: put %d zeros before it", int64(e), -e&3)
}

// eachEntry calls f for every entry of every archive of an initrd of size
// bytes. It returns how each archive, or each run of them that is compressed as
// one, is compressed, and how many bytes all have unpacked.
func eachEntry(file io.ReaderAt, size int64, f func(entry, io.Reader) error) (packed []string, unpacked int64, err error) {
	for at := int64(0); ; {
		in := bufio.NewReaderSize(io.NewSectionReader(file, at, size-at), 64<<10)
		zeros, err := skipZeros(in)
		if at += zeros; err != nil {
			if err == io.EOF && len(packed) > 0 {
				err = nil
			}
			return packed, unpacked, short(err)
		}
		begin, _ := in.Peek(headerSize)
		kind, program := compressionOf(begin)
		switch {
		case program != "":
			return packed, unpacked, fmt.Errorf("it is compressed by %s: unpack it first, by %s", kind, program)
		case kind == "":
			return packed, unpacked, fmt.Errorf("at byte %d is neither an archive nor a compression that kernels know", at)
		}
		if kind == "cpio" && at&3 != 0 {
			return packed, unpacked, UnseenError(at)
		}
		n, took, err := readPart(file, at, size, kind, f)
		packed, unpacked = append(packed, kind), unpacked+n
		if err != nil {
			return packed, unpacked, err
		}
		at += took
	}
}

// readPart reads what is at one place of an initrd: n are its bytes unpacked,
// took those in the file.
func readPart(file io.ReaderAt, at, size int64, kind string, f func(entry, io.Reader) error) (n, took int64, err error) {
	source := &counter{r: io.NewSectionReader(file, at, size-at)}
	in := bufio.NewReaderSize(source, 64<<10)
	if kind == "cpio" {
		c := &cpioReader{r: in}
		err := c.each(f)
		return c.pos, c.pos, err
	}
	var plain io.Reader
	switch kind {
	case "zstd":
		length, err := zstdFrame(file, at, size)
		if err != nil {
			return 0, 0, err
		}
		z, err := zstd.NewReader(io.NewSectionReader(file, at, length), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return 0, 0, err
		}
		defer z.Close()
		n, err = readArchives(z, f)
		return n, length, err
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return 0, 0, short(err)
		}
		z.Multistream(false)
		plain = z
	case "xz":
		z, err := xz.ReaderConfig{SingleStream: true}.NewReader(in)
		if err != nil {
			return 0, 0, short(err)
		}
		x := &xzStream{r: z}
		n, err = readArchives(x, f)
		return n, source.n - int64(in.Buffered()) - x.beyond, err
	}
	n, err = readArchives(plain, f)
	return n, source.n - int64(in.Buffered()), err
}

// xzStream is a stream of xz that may have something else after it: the library
// takes one byte of that and calls it an error, which has no name.
type xzStream struct {
	r      io.Reader
	beyond int64 // bytes read after the end
}

func (x *xzStream) Read(p []byte) (int, error) {
	n, err := x.r.Read(p)
	if err != nil && err.Error() == "xz: unexpected data after stream" {
		x.beyond, err = 1, io.EOF
	}
	return n, err
}

// readArchives reads the archives of one stream to its end.
func readArchives(r io.Reader, f func(entry, io.Reader) error) (int64, error) {
	source := &counter{r: r}
	in := bufio.NewReaderSize(source, 64<<10)
	for {
		if _, err := skipZeros(in); err != nil {
			if err == io.EOF {
				return source.n, nil
			}
			return source.n, short(err)
		}
		if err := (&cpioReader{r: in}).each(f); err != nil {
			return source.n, err
		}
	}
}

// skipZeros passes over zeros; io.EOF says that nothing else is left.
func skipZeros(in *bufio.Reader) (int64, error) {
	for n := int64(0); ; n++ {
		b, err := in.ReadByte()
		if err != nil {
			return n, err
		}
		if b != 0 {
			return n, in.UnreadByte()
		}
	}
}

// zstdFrame returns the length of the frame at a place (RFC 8878, 3.1.1): the
// decoder reads on where one ends.
func zstdFrame(file io.ReaderAt, at, size int64) (int64, error) {
	var b [5]byte
	read := func(n int, pos int64) error {
		if pos+int64(n) > size {
			return errors.New("zstd: it is cut short")
		}
		_, err := file.ReadAt(b[:n], pos)
		return err
	}
	if err := read(5, at); err != nil {
		return 0, err
	}
	descriptor := b[4]
	single := descriptor >> 5 & 1 // no window descriptor then, and at least a byte of content size
	pos := at + 5 + int64(1-single) + [...]int64{0, 1, 2, 4}[descriptor&3]
	if content := [...]int64{0, 2, 4, 8}[descriptor>>6]; content == 0 {
		pos += int64(single)
	} else {
		pos += content
	}
	for last := false; !last; {
		if err := read(3, pos); err != nil {
			return 0, err
		}
		block := uint32(b[0]) | uint32(binary.LittleEndian.Uint16(b[1:3]))<<8
		last = block&1 != 0
		length := int64(block >> 3)
		if block>>1&3 == 1 { // RLE: one byte, repeated
			length = 1
		}
		pos += 3 + length
	}
	if descriptor>>2&1 != 0 {
		pos += 4 // checksum
	}
	if pos > size {
		return 0, errors.New("zstd: it is cut short")
	}
	return pos - at, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
