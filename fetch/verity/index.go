package verity

import (
	"bytes"
	"slices"
	"sort"
)

// Index finds the blocks of an image by what is in them. It may be used by
// several goroutines at once.
type Index struct {
	tree  *Tree
	order []int32 // blocks, by their digests
}

// Index returns a new one. It takes 4 bytes a block.
func (t *Tree) Index() *Index {
	x := &Index{t, make([]int32, t.super.DataBlocks)}
	for i := range x.order {
		x.order[i] = int32(i)
	}
	slices.SortFunc(x.order, func(a, b int32) int {
		if c := bytes.Compare(t.leaf(int64(a)), t.leaf(int64(b))); c != 0 {
			return c
		}
		return int(a - b)
	})
	return x
}

// Find returns the blocks with a digest, in order. They must not be changed.
func (x *Index) Find(digest []byte) []int32 {
	at := func(i int) int { return bytes.Compare(x.tree.leaf(int64(x.order[i])), digest) }
	first := sort.Search(len(x.order), func(i int) bool { return at(i) >= 0 })
	last := first
	for last < len(x.order) && at(last) == 0 {
		last++
	}
	return x.order[first:last]
}
