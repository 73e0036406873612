package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// Verifier checks an image as it streams by. It is used by one goroutine at a time.
type Verifier interface {
	// Write takes the next bytes of the image. It returns how many of them may be kept. The rest are offered again
	// by the next Write; fewer than all without an error is right only for the tail of what has arrived, a block
	// that is not whole yet. An error says that the byte after the kept ones, or one soon after it, is wrong.
	Write(p []byte) (kept int, err error)
	// Close is the verdict on all that was kept: nil when the image is whole and right. More bytes may follow.
	Close() error
	// Reset forgets everything: the image starts over.
	Reset()
}

// blocked is a Verifier that keeps whole blocks alone. Their size is a power
// of two, 64 KiB at most.
type blocked interface{ BlockSize() int }

// grain is what a verifier keeps at a time, in bytes.
func grain(v Verifier) int64 {
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

// nothing vouches for any image.
type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
func (nothing) Close() error                { return nil }
func (nothing) Reset()                      {}

// digest compares the SHA-256 of the whole image; with no expectation it only computes it.
type digest struct {
	hash     hash.Hash
	expected []byte
}

func newDigest(expected []byte) *digest {
	return &digest{hash: sha256.New(), expected: expected}
}

func (d *digest) Write(p []byte) (int, error) { return d.hash.Write(p) }
func (d *digest) Reset()                      { d.hash.Reset() }

func (d *digest) Close() error {
	if got := d.hash.Sum(nil); d.expected != nil && !bytes.Equal(got, d.expected) {
		return &MismatchError{What: "sha256", Expected: hex.EncodeToString(d.expected), Got: hex.EncodeToString(got)}
	}
	return nil
}

// all is several verifiers in a row: each sees what the one before it kept. Only the first may keep less than all.
type all []Verifier

// BlockSize is that of the first.
func (vs all) BlockSize() int { return int(grain(vs[0])) }

func (vs all) Write(p []byte) (int, error) {
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

func (vs all) Close() error {
	for _, v := range vs {
		if err := v.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (vs all) Reset() {
	for _, v := range vs {
		v.Reset()
	}
}
