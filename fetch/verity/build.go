package verity

import (
	"fmt"
	"io"
)

// Options shape a new tree.
type Options struct {
	UUID [16]byte
	Salt []byte // at most 256 bytes; the same salt makes the same tree
	// DataBlockSize and HashBlockSize are in bytes; 0 means 4096.
	DataBlockSize, HashBlockSize int
}

// Build reads an image of size bytes and writes its tree, as `veritysetup
// format` would. The image must consist of whole data blocks.
func Build(image io.Reader, size int64, tree io.Writer, o Options) (root []byte, err error) {
	s := Superblock{UUID: o.UUID, Salt: o.Salt, DataBlockSize: o.DataBlockSize, HashBlockSize: o.HashBlockSize}
	if s.DataBlockSize == 0 {
		s.DataBlockSize = 4096
	}
	if s.HashBlockSize == 0 {
		s.HashBlockSize = 4096
	}
	if len(s.Salt) > saltMost {
		return nil, fmt.Errorf("verity: salt of %d bytes, at most %d", len(s.Salt), saltMost)
	}
	if size%int64(s.DataBlockSize) != 0 {
		return nil, fmt.Errorf("verity: the image's %d bytes are not whole blocks of %d", size, s.DataBlockSize)
	}
	s.DataBlocks = size / int64(s.DataBlockSize)
	head := s.marshal()
	// What this package would not read it does not write.
	if _, err := ParseSuperblock(head); err != nil {
		return nil, err
	}
	h := newHasher(s.Salt)
	level, err := hashAll(h, image, s.DataBlocks, s.DataBlockSize)
	if err != nil {
		return nil, err
	}
	var levels [][]byte // the one above the data first
	for range s.levels() {
		level = padded(level, s.HashBlockSize)
		levels = append(levels, level)
		var up []byte
		for b := 0; b < len(level); b += s.HashBlockSize {
			up = append(up, h.sum(level[b:b+s.HashBlockSize])...)
		}
		level = up
	}
	if _, err := tree.Write(head); err != nil {
		return nil, err
	}
	for i := len(levels) - 1; i >= 0; i-- {
		if _, err := tree.Write(levels[i]); err != nil {
			return nil, err
		}
	}
	return level, nil
}

// hashAll returns the digests of a reader's blocks.
func hashAll(h *hasher, r io.Reader, blocks int64, size int) ([]byte, error) {
	perRead := max(1, (1<<20)/size)
	buf := make([]byte, perRead*size)
	var out []byte
	for blocks > 0 {
		n := min(blocks, int64(perRead))
		part := buf[:n*int64(size)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, fmt.Errorf("verity: read image: %w", err)
		}
		for b := 0; b < len(part); b += size {
			out = append(out, h.sum(part[b:b+size])...)
		}
		blocks -= n
	}
	return out, nil
}

func padded(b []byte, size int) []byte {
	if rest := len(b) % size; rest != 0 {
		b = append(b, make([]byte, size-rest)...)
	}
	return b
}
