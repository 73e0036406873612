package verity

import "bytes"

// Blocks checks single blocks of an image against its tree, in any order. It is
// for one goroutine; a tree may have many.
type Blocks struct {
	tree   *Tree
	hasher *hasher
}

// Blocks returns a new one.
func (t *Tree) Blocks() *Blocks { return &Blocks{t, newHasher(t.super.Salt)} }

// Right tells whether p, a whole block, is the image's n-th.
func (b *Blocks) Right(n int64, p []byte) bool {
	return n >= 0 && n < b.tree.super.DataBlocks && len(p) == b.tree.super.DataBlockSize && bytes.Equal(b.hasher.sum(p), b.tree.leaf(n))
}

// Sum returns the digest that a block has in this tree. It is overwritten by
// the next call.
func (b *Blocks) Sum(p []byte) []byte { return b.hasher.sum(p) }
