// Package wire takes structures of a TPM apart, as the TCG's "TPM 2.0 Library
// Specification, Part 2" has them: big-endian, texts with their length in
// front.
package wire

import (
	"encoding/binary"
	"errors"
)

// ErrShort is the error of a structure that ends early.
var ErrShort = errors.New("the answer is cut off")

// A Reader takes a structure apart. After the first error all is zero.
type Reader struct {
	Rest []byte
	Err  error
}

// Bytes are the next n.
func (r *Reader) Bytes(n int) []byte {
	if r.Err != nil || n < 0 || n > len(r.Rest) {
		r.Err = ErrShort
		return nil
	}
	b := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return b
}

// Uint8 is the next byte.
func (r *Reader) Uint8() uint8 {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 are the next two bytes.
func (r *Reader) Uint16() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 are the next four bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Sized is a text with its length in front, a TPM2B.
func (r *Reader) Sized() []byte { return r.Bytes(int(r.Uint16())) }

// Sized8 is a text with its length in one byte.
func (r *Reader) Sized8() []byte { return r.Bytes(int(r.Uint8())) }
