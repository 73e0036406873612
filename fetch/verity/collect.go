package verity

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Collector gathers a tree as it streams by, and at its end checks it against
// the root. It is a verify.Verifier, so that a mirror with a wrong tree is left
// for another.
type Collector struct {
	root  []byte
	bytes []byte
	size  int // of the tree, once its superblock is there
	tree  *Tree
}

// Collect returns a Collector of the tree with that root.
func Collect(root []byte) *Collector { return &Collector{root: root} }

// Most is the largest tree that is read: of an image of 32 GiB.
const Most = 256 << 20

// Write keeps a tree of the size that its superblock tells. What is none is
// refused at its head, before it fills the memory.
func (c *Collector) Write(p []byte) (int, error) {
	if c.tree != nil {
		return 0, errors.New("verity: something follows the tree")
	}
	n := len(p)
	if c.size == 0 {
		took := min(superblockSize-len(c.bytes), len(p))
		c.bytes, p = append(c.bytes, p[:took]...), p[took:]
		if len(c.bytes) < superblockSize {
			return n, nil
		}
		s, err := ParseSuperblock(c.bytes)
		if err == nil && s.TreeSize() > Most {
			err = fmt.Errorf("verity superblock: a tree of %d MiB, at most %d MiB are read", s.TreeSize()>>20, Most>>20)
		}
		if err != nil {
			return 0, err
		}
		c.size = int(s.TreeSize())
		c.bytes = slices.Grow(c.bytes, c.size-len(c.bytes))
	}
	c.bytes = append(c.bytes, p[:min(len(p), c.size-len(c.bytes))]...)
	return n, nil
}

// Close is Open's verdict on what was gathered.
func (c *Collector) Close() (err error) {
	c.tree, err = Open(c.bytes, c.root)
	return err
}

// Reset forgets everything.
func (c *Collector) Reset() { c.bytes, c.size, c.tree = nil, 0, nil }

// Tree is the tree, after a Close without error.
func (c *Collector) Tree() *Tree { return c.tree }

// Read reads a tree from a file up to its end and checks it against its root.
// It reads no further than the tree may go.
func Read(file io.Reader, root []byte) (*Tree, error) {
	c := Collect(root)
	if _, err := io.Copy(c, io.LimitReader(file, Most)); err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	return c.Tree(), nil
}
