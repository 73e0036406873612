package verity

import (
	"bytes"
	"fmt"
)

// Verifier checks an image block by block as it streams by. It is a
// verify.Verifier.
type Verifier struct {
	tree    *Tree
	hashers []*hasher
	next    int64 // block
}

// Verifier returns a new one that hashes on up to workers cores; less than 1
// means 1.
func (t *Tree) Verifier(workers int) *Verifier {
	return &Verifier{tree: t, hashers: newHashers(t.super.Salt, workers)}
}

// Write checks the whole blocks in p and returns how many bytes they are. On an
// error these are the ones before the first wrong block.
func (v *Verifier) Write(p []byte) (int, error) {
	size := v.tree.super.DataBlockSize
	blocks := int64(len(p) / size)
	if v.next+blocks > v.tree.super.DataBlocks {
		return 0, fmt.Errorf("the image is longer than the %d blocks of its verity tree", v.tree.super.DataBlocks)
	}
	good, err := inShares(v.hashers, blocks, func(h *hasher, first, last int64) (int64, error) { return v.check(h, p, first, last) })
	v.next += good
	return int(good) * size, err
}

// check compares the blocks first to last-1 of p and returns the number of good
// ones from p's start.
func (v *Verifier) check(h *hasher, p []byte, first, last int64) (int64, error) {
	size := int64(v.tree.super.DataBlockSize)
	for b := first; b < last; b++ {
		want := v.tree.leaf(v.next + b)
		if got := h.sum(p[b*size : (b+1)*size]); !bytes.Equal(got, want) {
			return b, &MismatchError{What: fmt.Sprintf("block %d (byte %d)", v.next+b, (v.next+b)*size), Expected: want, Got: bytes.Clone(got)}
		}
	}
	return last, nil
}

// leaf is the digest of a data block.
func (t *Tree) leaf(block int64) []byte {
	if u := t.unseen; u != nil && !u.vouches(0, block/int64(t.super.HashBlockSize/digestSize)) {
		return nil
	}
	return t.leaves[block*digestSize:][:digestSize]
}

// Close says whether every block was seen.
func (v *Verifier) Close() error {
	if v.next < v.tree.super.DataBlocks {
		return fmt.Errorf("the image ends after %d of the %d blocks of its verity tree", v.next, v.tree.super.DataBlocks)
	}
	return nil
}

// BlockSize is what Write keeps at a time.
func (v *Verifier) BlockSize() int { return v.tree.super.DataBlockSize }

// Reset starts over at the first block.
func (v *Verifier) Reset() { v.next = 0 }
