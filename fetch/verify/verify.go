// Package verify checks images as they stream by: by their digest, or by what a
// caller brings.
package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// Verifier checks an image as it streams by. It is used by one goroutine at a
// time.
type Verifier interface {
	// Write takes the next bytes of the image. It returns how many of them may
	// be kept. The rest are offered again by the next Write; fewer than all
	// without an error is right only for the tail of what has arrived, a block
	// that is not whole yet. An error says that the byte after the kept ones,
	// or one soon after it, is wrong.
	Write(p []byte) (kept int, err error)
	// Close is the verdict on all that was kept: nil when the image is whole
	// and right. More bytes may follow.
	Close() error
	// Reset forgets everything: the image starts over.
	Reset()
}

// blocked is a Verifier that keeps whole blocks alone. Their size is a power
// of two, 64 KiB at most.
type blocked interface{ BlockSize() int }

// Grain is what a verifier keeps at a time, in bytes.
func Grain(v Verifier) int64 {
	if b, ok := v.(blocked); ok {
		return int64(b.BlockSize())
	}
	return 1
}

// MismatchError says that the image is not the one asked for.
type MismatchError struct {
	What     string // "sha256", "block 17"
	Expected string
	Got      string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %s, expected %s", e.What, e.Got, e.Expected)
}

// Nothing vouches for any image.
type Nothing struct{}

// Write keeps everything.
func (Nothing) Write(p []byte) (int, error) { return len(p), nil }

// Close finds nothing wrong.
func (Nothing) Close() error { return nil }

// Reset has nothing to forget.
func (Nothing) Reset() {}

// Digest compares the SHA-256 of the whole image.
type Digest struct {
	hash     hash.Hash
	expected []byte
}

// NewDigest expects a digest; with nil it only computes it.
func NewDigest(expected []byte) *Digest {
	return &Digest{hash: sha256.New(), expected: expected}
}

// Write hashes the next bytes, and keeps all.
func (d *Digest) Write(p []byte) (int, error) { return d.hash.Write(p) }

// Reset forgets them.
func (d *Digest) Reset() { d.hash.Reset() }

// Sum is the digest of what was written.
func (d *Digest) Sum() (sum [32]byte) {
	d.hash.Sum(sum[:0])
	return sum
}

// Close compares.
func (d *Digest) Close() error {
	if got := d.Sum(); d.expected != nil && !bytes.Equal(got[:], d.expected) {
		return &MismatchError{What: "sha256", Expected: hex.EncodeToString(d.expected), Got: hex.EncodeToString(got[:])}
	}
	return nil
}

// All is several verifiers in a row: each sees what the one before it kept.
// Only the first may keep less than all.
type All []Verifier

// BlockSize is that of the first.
func (vs All) BlockSize() int { return int(Grain(vs[0])) }

// Write returns what all of them keep.
func (vs All) Write(p []byte) (int, error) {
	var result error
	for _, v := range vs {
		n, err := v.Write(p)
		if err != nil && result == nil {
			result = err
		}
		p = p[:n]
	}
	return len(p), result
}

// Close is the first verdict against the image.
func (vs All) Close() error {
	for _, v := range vs {
		if err := v.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Reset resets all of them.
func (vs All) Reset() {
	for _, v := range vs {
		v.Reset()
	}
}
