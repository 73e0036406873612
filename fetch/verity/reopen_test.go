package verity

import (
	"bytes"
	"errors"
	"sync"
	"testing"
)

// rightBlocks are the blocks of an image that a tree takes, by several at once.
func rightBlocks(tr *Tree, image []byte) []bool {
	right := make([]bool, len(image)/4096)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			check := tr.Blocks()
			for n := worker; n < len(right); n += 4 {
				right[n] = check.Right(int64(n), image[n*4096:][:4096])
			}
		})
	}
	all.Wait()
	return right
}

func TestReopen(t *testing.T) {
	for _, blocks := range sizes {
		image := imageBytes(blocks * 4096)
		tree, root := build(t, image, Options{Salt: []byte("salt")})
		tr, err := Reopen(tree, root)
		if err != nil {
			t.Fatalf("%d blocks: %v", blocks, err)
		}
		if tr.Size() != int64(len(image)) {
			t.Errorf("%d blocks: Size %d", blocks, tr.Size())
		}
		for n, ok := range rightBlocks(tr, image) {
			if !ok {
				t.Fatalf("%d blocks: block %d is refused", blocks, n)
			}
		}
		wrong := bytes.Clone(image[:4096])
		wrong[0] ^= 1
		if tr.Blocks().Right(0, wrong) {
			t.Errorf("%d blocks: a wrong block is taken", blocks)
		}
		if v := tr.Verifier(2); blocks > 1 {
			if n, err := v.Write(image); err != nil || n != len(image) {
				t.Errorf("%d blocks: Write: %d, %v", blocks, n, err)
			}
		}
	}
}

// What a wrong hash block vouches for is no block's, and all else is.
func TestReopenRefuses(t *testing.T) {
	const blocks = 128*128 + 1 // three levels: the root's block, 2 below it, 129 above the data
	image := imageBytes(blocks * 4096)
	tree, root := build(t, image, Options{})
	for name, test := range map[string]struct {
		at          int // byte of the tree
		first, last int // blocks that are refused
	}{
		"the root's block": {4096 + 5, 0, blocks},
		"the first of two": {2*4096 + 5, 0, 128 * 128},
		"a lowest one":     {(4+7)*4096 + 40, 7 * 128, 8 * 128},
		"what is beyond":   {len(tree) - 1, 128 * 128, blocks},
	} {
		bad := bytes.Clone(tree)
		bad[test.at] ^= 1
		tr, err := Reopen(bad, root)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n, ok := range rightBlocks(tr, image) {
			if refused := n >= test.first && n < test.last; ok == refused {
				t.Fatalf("%s: block %d: taken %t, refused %t", name, n, ok, refused)
			}
		}
		var m *MismatchError
		if n, err := tr.Verifier(1).Write(image); n != test.first*4096 || !errors.As(err, &m) {
			t.Errorf("%s: Write: %d, %v", name, n, err)
		}
		if got := tr.Index().Find(tr.Blocks().Sum(image[test.first*4096:][:4096])); len(got) > 0 {
			t.Errorf("%s: block %d is found at %v", name, test.first, got)
		}
	}
	if _, err := Reopen(tree[:len(tree)-1], root); err == nil {
		t.Error("a tree that is cut off is taken")
	}
	if _, err := Reopen(tree, root[:31]); err == nil {
		t.Error("half a root hash is taken")
	}
}
