package vouch

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"netstage/fetch/manifest"
)

// The tree is handed over with the image where it is wanted, fetched or local,
// and what is handed over can't be changed.
func TestTreeIsKept(t *testing.T) {
	w := newWorld(t, "image")
	s := w.serve(t)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"image": w.content, "image.verity": w.tree} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fetched, _ := order(t)
	fetched.Images, fetched.RootHash = places(s.URL("dir/image")), w.root
	signed, _ := order(t)
	signed.Manifests, signed.Keys = places(s.URL("dir/web.manifest")), manifest.Keys{w.key}
	local, _ := order(t)
	local.Images, local.RootHash = places(filepath.Join(dir, "image")), w.root
	for name, o := range map[string]Order{"fetched": fetched, "signed": signed, "local": local} {
		t.Run(name, func(t *testing.T) {
			if i := w.mustGet(t, o); i.Tree != nil {
				t.Error("a tree that nobody asked for is kept")
			}
			o.KeepTree = true
			i, err := Get(soon(t), o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(i.Tree.File, 0, 1<<20))
			if err != nil || !bytes.Equal(got, w.tree) || !bytes.Equal(i.Tree.RootHash, w.root) || i.Tree.DataBlocks*4096 != i.Size || string(i.Tree.Salt) != "salt" {
				t.Errorf("%d bytes, %v, %+v", len(got), err, i.Tree)
			}
			if _, err := i.Tree.File.WriteAt([]byte("x"), 0); err == nil {
				t.Error("the tree can be written to")
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	bare, _ := order(t)
	bare.Images, bare.SHA256, bare.KeepTree = places(s.URL("dir/image")), w.digest, true
	mustRefuse(t, bare, "policy", "no root hash is known: give roothash=")
}

// Digest, root hash and manifest must all hold.
func TestAllGivenMustHold(t *testing.T) {
	w := newWorld(t, "image")
	for name, test := range map[string]struct {
		change      func(*Order)
		class, says string // empty: all is well
	}{
		"all right":         {func(*Order) {}, "", ""},
		"wrong sha256":      {func(o *Order) { o.SHA256 = w.root }, "mismatch", "sha256 is"},
		"wrong root hash":   {func(o *Order) { o.RootHash = w.digest }, "mismatch", "wrong verity tree: hash block"},
		"signed, all right": {func(o *Order) { o.Manifests, o.Keys = places("dir/web.manifest"), manifest.Keys{w.key} }, "", ""},
		"signed, wrong sha256": {func(o *Order) {
			o.Manifests, o.Keys, o.SHA256 = places("dir/web.manifest"), manifest.Keys{w.key}, w.root
		}, "policy", "the SHA-256 asked for is"},
		"signed, wrong root hash": {func(o *Order) {
			o.Manifests, o.Keys, o.RootHash = places("dir/web.manifest"), manifest.Keys{w.key}, w.digest
		}, "policy", "the root hash asked for is"},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.serve(t)
			o, _ := order(t)
			o.Images, o.SHA256, o.RootHash = places(s.URL("dir/image")), w.digest, w.root
			test.change(&o)
			for i := range o.Manifests {
				o.Manifests[i] = places(s.URL(o.Manifests[i].Raw))[0]
			}
			if test.class != "" {
				mustRefuse(t, o, test.class, test.says)
				return
			}
			if i := w.mustGet(t, o); !bytes.Equal(i.SHA256, w.digest) || !bytes.Equal(i.RootHash, w.root) {
				t.Errorf("sha256 %x, root hash %x", i.SHA256, i.RootHash)
			}
		})
	}
}
