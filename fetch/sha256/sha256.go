// Package sha256 is crypto/sha256 where the processor has instructions that it uses, and a plain implementation where
// it has none: crypto/sha256 is at a third to two thirds of what such a processor can do, and the digest is what a
// machine with a fast link waits for there.
package sha256

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"golang.org/x/sys/cpu"
)

const (
	// Size is the length of a digest in bytes.
	Size      = sha256.Size
	blockSize = sha256.BlockSize
)

// New returns the better SHA-256 for this processor.
func New() hash.Hash {
	// Without AVX2, crypto/sha256 uses nothing else of an x86 either: it wants AVX for SHA-NI.
	if cpu.X86.HasAVX2 && cpu.X86.HasBMI2 || cpu.ARM64.HasSHA2 {
		return sha256.New()
	}
	return newPlain()
}

// plain is a SHA-256 under way.
type plain struct {
	state   [8]uint32
	length  uint64 // bytes so far
	pending [blockSize]byte
}

func newPlain() *plain {
	p := new(plain)
	p.Reset()
	return p
}

func (p *plain) Size() int      { return Size }
func (p *plain) BlockSize() int { return blockSize }

// Reset starts over, with the initial value of FIPS 180-4, 5.3.3.
func (p *plain) Reset() {
	p.state = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
	p.length = 0
}

func (p *plain) Write(b []byte) (int, error) {
	n := len(b)
	had := int(p.length % blockSize)
	p.length += uint64(n)
	if had > 0 {
		took := copy(p.pending[had:], b)
		if had+took < blockSize {
			return n, nil
		}
		blocks(&p.state, p.pending[:])
		b = b[took:]
	}
	blocks(&p.state, b)
	copy(p.pending[:], b[len(b)&^(blockSize-1):])
	return n, nil
}

// Sum appends the digest of what was written so far. More may be written afterwards.
func (p *plain) Sum(b []byte) []byte {
	q := *p
	// A one bit, zeros, and the length in bits, to whole blocks (FIPS 180-4, 5.1.1).
	var end [2 * blockSize]byte
	end[0] = 0x80
	zeros := (blockSize - 1 - 8 - q.length%blockSize) % blockSize
	binary.BigEndian.PutUint64(end[1+zeros:], q.length<<3)
	_, _ = q.Write(end[:1+zeros+8])
	for _, word := range q.state {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}
