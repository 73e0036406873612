package verity

import "errors"

// Collector gathers a tree as it streams by, and at its end checks it against the root. It is a fetch.Verifier, so
// that a mirror with a wrong tree is left for another.
type Collector struct {
	root  []byte
	bytes []byte
	tree  *Tree
}

// Collect returns a Collector of the tree with that root.
func Collect(root []byte) *Collector { return &Collector{root: root} }

// Write keeps all it is given.
func (c *Collector) Write(p []byte) (int, error) {
	if c.tree != nil {
		return 0, errors.New("verity: something follows the tree")
	}
	c.bytes = append(c.bytes, p...)
	return len(p), nil
}

// Close is Open's verdict on what was gathered.
func (c *Collector) Close() (err error) {
	c.tree, err = Open(c.bytes, c.root)
	return err
}

// Reset forgets everything.
func (c *Collector) Reset() { c.bytes, c.tree = nil, nil }

// Tree is the tree, after a Close without error.
func (c *Collector) Tree() *Tree { return c.tree }
