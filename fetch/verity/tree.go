package verity

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"runtime"
)

// Tree is a hash tree that was checked against its root hash.
type Tree struct {
	super  Superblock
	leaves []byte  // the digests of the data blocks
	unseen *unseen // nil: all of it was checked when it was opened
}

// Open checks a whole tree file against root, before any byte of the image is
// looked at: every hash block against its parent, and the slots beyond the last
// digest for being empty, which proves the superblock's number of blocks. The
// tree is not copied and must not change afterwards. All processors check: the
// tree of a streamed image is what its boot waits for.
//
// One lie remains possible, as in the format itself: a tree whose levels are
// full can be passed off as a smaller one for an image that consists of its own
// hash blocks. That is no file system, and where a manifest names the image's
// size it is caught by that.
func Open(tree, root []byte) (*Tree, error) {
	return open(tree, root, runtime.GOMAXPROCS(0))
}

// open is Open with so many processors.
func open(tree, root []byte, workers int) (*Tree, error) {
	s, err := headOf(tree, root)
	if err != nil {
		return nil, err
	}
	hashers := newHashers(s.Salt, workers)
	parents := root
	levels := s.levels()
	for i := len(levels) - 1; i >= 0; i-- {
		l := levels[i]
		size := int64(s.HashBlockSize)
		body := tree[l.first*size : (l.first+l.blocks)*size]
		_, err := inShares(hashers, l.blocks, func(h *hasher, first, last int64) (int64, error) {
			for b := first; b < last; b++ {
				want := parents[b*digestSize:][:digestSize]
				if got := h.sum(body[b*size : (b+1)*size]); !bytes.Equal(got, want) {
					return b, &MismatchError{What: fmt.Sprintf("hash block %d of level %d of the verity tree", b, i), Expected: bytes.Clone(want), Got: bytes.Clone(got)}
				}
			}
			return last, nil
		})
		if err != nil {
			return nil, err
		}
		used, rest := body[:l.digests*digestSize], body[l.digests*digestSize:]
		if len(bytes.Trim(rest, "\x00")) > 0 {
			return nil, fmt.Errorf("verity superblock lies: the tree is of more than %d data blocks", s.DataBlocks)
		}
		if last := used[len(used)-digestSize:]; len(bytes.Trim(last, "\x00")) == 0 {
			return nil, fmt.Errorf("verity superblock lies: the tree is of fewer than %d data blocks", s.DataBlocks)
		}
		parents = used
	}
	return &Tree{super: s, leaves: parents}, nil
}

// headOf is the superblock of a tree file that is not cut off, for a root hash
// that may be one.
func headOf(tree, root []byte) (Superblock, error) {
	s, err := ParseSuperblock(tree)
	if err != nil {
		return s, err
	}
	if len(root) != digestSize {
		return s, fmt.Errorf("verity root hash of %d bytes, need %d", len(root), digestSize)
	}
	if want := s.TreeSize(); int64(len(tree)) < want {
		return s, fmt.Errorf("verity tree is cut off: %d bytes, need %d", len(tree), want)
	}
	return s, nil
}

// Superblock is the tree's head.
func (t *Tree) Superblock() Superblock { return t.super }

// Size is the image's length in bytes.
func (t *Tree) Size() int64 { return t.super.DataBlocks * int64(t.super.DataBlockSize) }

// MismatchError says that a block is not the one the tree vouches for.
type MismatchError struct {
	What          string
	Expected, Got []byte
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %x, expected %x", e.What, e.Got, e.Expected)
}

// hasher computes salted digests, one at a time.
type hasher struct {
	hash hash.Hash
	salt []byte
	out  [digestSize]byte
}

func newHasher(salt []byte) *hasher { return &hasher{hash: sha256.New(), salt: salt} }

// sum returns the digest of a block; it is overwritten by the next one.
func (h *hasher) sum(block []byte) []byte {
	h.hash.Reset()
	h.hash.Write(h.salt)
	h.hash.Write(block)
	return h.hash.Sum(h.out[:0])
}
