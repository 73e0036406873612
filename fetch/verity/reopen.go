package verity

import (
	"bytes"
	"sync/atomic"
)

// Reopen is Open for a tree that Open has checked before, in another process: a
// hash block is checked when one of its digests is first needed, so that
// nothing waits for all of them. A digest that the root does not vouch for is
// no block's. Of the superblock it knows nothing; the caller compares the Size.
func Reopen(tree, root []byte) (*Tree, error) {
	s, err := headOf(tree, root)
	if err != nil {
		return nil, err
	}
	t := &Tree{super: s, leaves: root}
	levels := s.levels()
	if len(levels) == 0 {
		return t, nil
	}
	size := int64(s.HashBlockSize)
	t.leaves = tree[levels[0].first*size:][:levels[0].digests*digestSize]
	t.unseen = &unseen{tree: tree, root: root, super: s, levels: levels, right: make([]atomic.Uint32, s.TreeSize()/size/32+1)}
	return t, nil
}

// unseen is what a tree's hash blocks are checked with when they are needed. It
// may be used by several goroutines at once.
type unseen struct {
	tree, root []byte
	super      Superblock
	levels     []level
	right      []atomic.Uint32 // bits: hash blocks of the file that are right
}

// vouches tells whether the root vouches for a hash block of a level, of those
// above the data, the lowest first.
func (u *unseen) vouches(level int, block int64) bool {
	size, slots := int64(u.super.HashBlockSize), int64(u.super.HashBlockSize/digestSize)
	at := u.levels[level].first + block
	word, bit := &u.right[at/32], uint32(1)<<(at%32)
	if word.Load()&bit != 0 {
		return true
	}
	want := u.root
	if level+1 < len(u.levels) {
		if !u.vouches(level+1, block/slots) {
			return false
		}
		parent := u.tree[(u.levels[level+1].first+block/slots)*size:]
		want = parent[block%slots*digestSize:][:digestSize]
	}
	if !bytes.Equal(newHasher(u.super.Salt).sum(u.tree[at*size:][:size]), want) {
		return false
	}
	word.Or(bit)
	return true
}
