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
	"netstage/fetch/store"
	"netstage/fetch/vouch"
)

// Pull writes the layers of an artifact that are wanted into a folder, each
// verified, under the names that they were pushed by, and beside an image its
// .sha256 and .roothash. Files that are there are left as they are. It returns
// the names of those that were fetched.
func Pull(ctx context.Context, a *vouch.Artifact, dir string, wanted func(oci.Descriptor) bool) (fetched []string, err error) {
	var names []string
	for _, l := range a.Layers {
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
			if err := write(ctx, a, l, path); err != nil {
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
