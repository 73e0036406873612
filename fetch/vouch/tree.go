package vouch

import (
	"context"
	"errors"
	"os"

	"netstage/fetch"
	"netstage/fetch/verity"
	"netstage/stage1/fault"
)

// Tree is the verity tree of an image: File is open for reading, and checked
// against RootHash.
type Tree struct {
	File     *os.File
	RootHash []byte
	verity.Superblock
}

// getTree gets the verity tree and checks it against its root. The file is the
// caller's to close.
func getTree(ctx context.Context, o Order) (*verity.Tree, *os.File, error) {
	places := o.Trees
	for _, image := range o.Images {
		if len(o.Trees) == 0 && o.artifact == nil {
			places = append(places, image.WithSuffix(".verity"))
		}
	}
	if len(places) == 0 {
		return nil, nil, fault.Errorf(fault.Artifact, "%s has no verity tree: push the image with its .verity and .roothash", o.artifact.from)
	}
	here, places := split(places)
	var failed error
	for _, place := range here {
		tree, file, err := openTree(place.Path, o.RootHash)
		if err == nil || len(here) == 1 && len(places) == 0 {
			return tree, file, err
		}
		o.Fetch.Log.Warn(err.Error()+"; now the next place", "err", err)
		failed = err
	}
	if len(places) == 0 {
		return nil, nil, failed
	}
	collector := verity.Collect(o.RootHash)
	r := o.Fetch
	r.Mirrors, r.Verify, r.Digest, r.What = places, collector, false, "verity tree"
	blob, err := fetch.GetBlob(ctx, r, verity.Most)
	if err != nil {
		return nil, nil, err
	}
	file, err := blob.Detach()
	return collector.Tree(), file, err
}

// openTree opens a local tree.
func openTree(place string, root []byte) (*verity.Tree, *os.File, error) {
	file, err := os.Open(place)
	if err != nil {
		return nil, nil, fault.Errorf(fault.NoImage, "verity tree: %v", err)
	}
	tree, err := verity.Read(file, root)
	if err != nil {
		return nil, nil, errors.Join(fault.Errorf(fault.Mismatch, "%s: %v", place, err), file.Close())
	}
	return tree, file, nil
}
