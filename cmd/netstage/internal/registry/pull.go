package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netstage/cmd/netstage/internal/ctxio"
	"netstage/cmd/netstage/internal/output"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/vouch"
)

// Pull writes the layers of an artifact that are wanted into a folder, each
// verified, under the names that they were pushed by, and beside an image its
// .sha256 and .roothash. Files that are there are left as they are. Of an image
// with a verity tree the blocks that the seeds have are not fetched, nor those
// that an older image of its name in the folder has. It returns the names of
// the files that were fetched.
func Pull(ctx context.Context, a *vouch.Artifact, dir string, wanted func(oci.Descriptor) bool, seeds ...vouch.Seed) (fetched []string, err error) {
	var names []string
	layers := slices.Clone(a.Layers)
	slices.SortStableFunc(layers, func(x, y oci.Descriptor) int { return last(a, x) - last(a, y) })
	for _, l := range layers {
		name := l.Title()
		switch {
		case !wanted(l):
			continue
		case name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fetched, fmt.Errorf("a layer of the type %s has %q as its name, which is no file's", l.MediaType, name)
		case slices.Contains(names, name):
			return fetched, fmt.Errorf("two layers have the name %s", name)
		}
		names = append(names, name)
		path, err := output.Name(filepath.Join(dir, name))
		if err != nil {
			return fetched, err
		}
		there, err := holds(ctx, path, l)
		if err != nil {
			return fetched, err
		}
		if !there {
			get := write
			if l.Digest == a.Image.Digest && a.RootHash != nil && a.Tree != nil && wanted(*a.Tree) {
				tree := filepath.Join(dir, a.Tree.Title())
				get = func(ctx context.Context, a *vouch.Artifact, l oci.Descriptor, path string) error {
					return seeded(ctx, a, l, path, tree, seeds)
				}
			}
			if err := get(ctx, a, l, path); err != nil {
				return fetched, fmt.Errorf("pull %s: %w", name, err)
			}
			fetched = append(fetched, name)
		}
		if l.Digest == a.Image.Digest {
			if err := describe(ctx, a, path); err != nil {
				return fetched, err
			}
		}
	}
	return fetched, nil
}

// Everything wants all layers.
func Everything(oci.Descriptor) bool { return true }

// write gets one layer. One without a byte can't be asked for in parts.
func write(ctx context.Context, a *vouch.Artifact, l oci.Descriptor, path string) error {
	if l.Size == 0 {
		return output.Text(ctx, path, nil)
	}
	i, err := a.Layer(ctx, l, store.File(path))
	if err != nil {
		return err
	}
	return i.Close()
}

// last is 1 for the image: it comes after the tree that tells which of its blocks
// are here.
func last(a *vouch.Artifact, l oci.Descriptor) int {
	if l.Digest == a.Image.Digest {
		return 1
	}
	return 0
}

// seeded gets the image, as far as seeds and the file in its place have it from
// there.
func seeded(ctx context.Context, a *vouch.Artifact, l oci.Descriptor, path, tree string, seeds []vouch.Seed) error {
	if old, err := os.Open(path); err == nil {
		defer old.Close()
		info, err := old.Stat()
		if err != nil {
			return err
		}
		seeds = append(slices.Clone(seeds), vouch.Seed{Name: path, File: old, Size: info.Size()})
	}
	if len(seeds) == 0 {
		return write(ctx, a, l, path)
	}
	tree, err := filepath.Abs(tree)
	if err != nil {
		return err
	}
	o := vouch.Order{RootHash: a.RootHash, Trees: []ref.Location{ref.FileAt(tree)}, Seeds: seeds, Fetch: a.Request}
	if o.SHA256, err = hex.DecodeString(l.Digest); err != nil {
		return err
	}
	for _, place := range a.Places {
		blob, err := place.Blob(l.Digest)
		if err != nil {
			return err
		}
		o.Images = append(o.Images, blob)
	}
	o.Fetch.Store, o.Fetch.What, o.Fetch.Size = store.File(path), l.Title(), l.Size
	i, err := vouch.Get(ctx, o)
	if err != nil {
		return err
	}
	return i.Close()
}

// describe writes what is known of an image beside it, as netstage image does.
func describe(ctx context.Context, a *vouch.Artifact, path string) error {
	text := a.Image.Digest + "  " + filepath.Base(path) + "\n"
	if err := output.Text(ctx, path+".sha256", []byte(text)); err != nil {
		return err
	}
	if a.RootHash == nil {
		return nil
	}
	return output.Text(ctx, path+".roothash", []byte(hex.EncodeToString(a.RootHash)))
}

// holds tells whether a file is that layer already.
func holds(ctx context.Context, path string, l oci.Descriptor) (bool, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != l.Size {
		return false, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, ctxio.Reader(ctx, f)); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == l.Digest, nil
}
