// Package verity reads, checks and writes dm-verity hash trees as veritysetup
// makes them: a superblock, then the levels of the tree, the top first, each
// filled up with zeros to whole hash blocks (kernel:
// Documentation/admin-guide/device-mapper/verity.rst; cryptsetup: lib/verity).
// SHA-256 and hash type 1 only.
package verity

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	superblockSize = 512
	saltMost       = 256
	signature      = "verity\x00\x00"
	algorithm      = "sha256"
	digestSize     = sha256.Size

	blockLeast, blockMost = 512, 64 << 10
	// dataMost keeps every offset far from overflowing: 2⁵⁰ bytes, a petabyte.
	dataMost = 1 << 50
)

// Superblock is the head of a tree. It is not covered by the root hash; Open
// finds out whether it lies.
type Superblock struct {
	UUID          [16]byte
	DataBlockSize int   // bytes
	HashBlockSize int   // bytes
	DataBlocks    int64 // of the image
	Salt          []byte
}

// ParseSuperblock reads the first 512 bytes of b.
func ParseSuperblock(b []byte) (Superblock, error) {
	var s Superblock
	if len(b) < superblockSize {
		return s, fmt.Errorf("verity superblock: %d bytes, need %d", len(b), superblockSize)
	}
	le := binary.LittleEndian
	if string(b[:8]) != signature {
		return s, fmt.Errorf("verity superblock: no signature (is it a tree made by veritysetup format?)")
	}
	if v := le.Uint32(b[8:]); v != 1 {
		return s, fmt.Errorf("verity superblock: version %d, know 1", v)
	}
	if t := le.Uint32(b[12:]); t != 1 {
		return s, fmt.Errorf("verity superblock: hash type %d, know 1", t)
	}
	copy(s.UUID[:], b[16:32])
	if a, _, _ := bytes.Cut(b[32:64], []byte{0}); string(a) != algorithm {
		return s, fmt.Errorf("verity superblock: algorithm %q, know %s", a, algorithm)
	}
	data, hash, blocks := le.Uint32(b[64:]), le.Uint32(b[68:]), le.Uint64(b[72:])
	for what, n := range map[string]uint32{"data": data, "hash": hash} {
		if n < blockLeast || n > blockMost || n&(n-1) != 0 {
			return s, fmt.Errorf("verity superblock: %s block size %d", what, n)
		}
	}
	if blocks == 0 || blocks > dataMost/uint64(data) {
		return s, fmt.Errorf("verity superblock: %d data blocks", blocks)
	}
	salt := int(le.Uint16(b[80:]))
	if salt > saltMost {
		return s, fmt.Errorf("verity superblock: salt of %d bytes", salt)
	}
	s.DataBlockSize, s.HashBlockSize, s.DataBlocks = int(data), int(hash), int64(blocks)
	s.Salt = bytes.Clone(b[88 : 88+salt])
	return s, nil
}

// marshal writes the superblock, filled up to a whole hash block.
func (s Superblock) marshal() []byte {
	b := make([]byte, s.HashBlockSize)
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], 1)
	copy(b[16:], s.UUID[:])
	copy(b[32:], algorithm)
	le.PutUint32(b[64:], uint32(s.DataBlockSize))
	le.PutUint32(b[68:], uint32(s.HashBlockSize))
	le.PutUint64(b[72:], uint64(s.DataBlocks))
	le.PutUint16(b[80:], uint16(len(s.Salt)))
	copy(b[88:], s.Salt)
	return b
}

// level is one level of the tree, in hash blocks from the start of the tree
// file.
type level struct {
	first, blocks int64
	digests       int64 // how many of its slots are used
}

// levels lays the tree out, the level above the data first. It is empty when
// the image is one block: the root hash is that block's own.
func (s Superblock) levels() []level {
	perBlock := int64(s.HashBlockSize / digestSize)
	var list []level
	for n := s.DataBlocks; n > 1; {
		blocks := (n + perBlock - 1) / perBlock
		list = append(list, level{blocks: blocks, digests: n})
		n = blocks
	}
	at := int64(1) // after the superblock
	for i := len(list) - 1; i >= 0; i-- {
		list[i].first = at
		at += list[i].blocks
	}
	return list
}

// TreeSize is the length of the tree file in bytes.
func (s Superblock) TreeSize() int64 {
	n := int64(1)
	for _, l := range s.levels() {
		n += l.blocks
	}
	return n * int64(s.HashBlockSize)
}
