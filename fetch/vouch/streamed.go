package vouch

import (
	"context"
	"errors"
	"os"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/fetch/stream"
	"netstage/fetch/verity"
)

// Streamed is an image to be streamed. The tree's file is closed afterwards.
type Streamed struct {
	Request  fetch.Request // with the image's URLs and size
	Tree     *os.File
	Checked  *verity.Tree
	RootHash []byte
	SHA256   []byte // of the whole, where somebody pinned it

	Artifacts []ref.Artifact // of registries, which want a login perhaps
	Hot       []ref.Location // mirrors of the hot list, which need not exist
	Seeded    bool           // seeds are taken beside it, until it is Ready
}

// Streaming is an image that can be used while it comes.
type Streaming struct {
	File  *os.File
	Store *stream.Store               // which seeds may fill; nil: they may not
	Ready func(context.Context) error // seeds have given what they have
	End   func() error                // gives it up
}

// stream has the image brought while it is used, where that can be done.
func (i *Image) stream(ctx context.Context, o Order, tree *verity.Tree, file *os.File) (bool, error) {
	r := o.Fetch
	r.Mirrors, r.Size = o.Images, tree.Size()
	s := Streamed{Request: r, Tree: file, Checked: tree, RootHash: o.RootHash, SHA256: o.SHA256, Seeded: len(o.Seeds) > 0}
	if o.artifact == nil {
		for _, place := range o.Images {
			s.Hot = append(s.Hot, place.WithSuffix(".hot"))
		}
	} else {
		var err error
		if s.Hot, err = o.artifact.blobs(o.artifact.Hot); err != nil {
			return false, err
		}
		s.Artifacts = o.artifact.places
	}
	open, err := o.Stream(ctx, s)
	if open == nil || err != nil {
		return false, err
	}
	if s.Seeded && open.Store != nil {
		i.fillBeside(ctx, o, open.Store)
	}
	if err := open.Ready(ctx); err != nil {
		return false, errors.Join(err, open.End())
	}
	i.File, i.Source, i.Size, i.close = open.File, o.Images[0].String(), tree.Size(), open.End
	return true, nil
}
