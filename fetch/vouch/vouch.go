// Package vouch gets an image together with what vouches for it: a digest, a
// verity tree, a signed manifest. Nothing is returned that did not pass all
// that was asked for.
package vouch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/verify"
	"netstage/stage1/fault"
)

// Order says what image is wanted, from where, and what must vouch for it; all
// that is given must hold. A location is a URL or a file.
type Order struct {
	Images   []ref.Location // mirrors, or one local file; empty: where the manifest says
	SHA256   []byte         // nil: not pinned
	RootHash []byte         // of the dm-verity tree; nil: not pinned
	Trees    []ref.Location // mirrors of the tree, files before servers; empty: beside each image, with ".verity" appended

	Manifests []ref.Location // mirrors of the signed manifest, files before servers
	Keys      manifest.Keys  // who may sign it; where there are any, there must be a manifest
	Threshold int            // how many of the keys have to; below 1: one
	KeyLists  []ref.Location // mirrors of a list that names other keys, signed by those
	Version   int            // of the manifest's format, at least
	Name      string         // what the manifest has to be of; empty: anything
	NotBefore time.Time      // older manifests are refused, whoever signed them; zero: none are
	Init      string         // stage 2 as asked for; empty: as the manifest says
	KeepTree  bool           // the verity tree is wanted as well; without one there is no image

	// Highest is the highest serial that was booted of a name, and of key lists
	// of manifest.KeyLists; lower ones are refused. Nil: none was.
	Highest func(name string) uint64
	// Valid refuses a signed document that holds at another time; nil: by the
	// system's clock.
	Valid func(name string, created, notBefore, notAfter time.Time) error
	// Cmdline refuses a kernel command line that neither the initrd nor a
	// manifest's patterns allow; nil: any.
	Cmdline func(patterns []string) error

	// Load has a local image copied into Fetch.Store, and the copy verified and
	// used: what it is on may change, or go. It tells how many bytes of the
	// file are the image. Nil: the file is used where it is.
	Load func(*os.File) (int64, error)
	// Patience is how long the disk may take to answer meanwhile; 0: for ever.
	Patience time.Duration

	// Stream, where it is not nil, is asked to bring an image that a verity
	// tree vouches for and a server has. Where it answers with nil the image is
	// fetched whole.
	Stream func(context.Context, Streamed) (*Streaming, error)

	// Seeds may hold parts of the image, which are not fetched then. They are
	// used where a verity tree vouches for it.
	Seeds []Seed

	// Credentials are for registries, which images may be in.
	Credentials oci.Credentials
	// Platform is what is taken of an artifact for several; zero: that of this
	// program.
	Platform oci.Platform

	// Fetch says how to fetch: Store, Log and Dial, for instance. What to fetch
	// is filled in.
	Fetch fetch.Request

	artifact *artifact // that the image is in; nil: it is in no registry
}

// Places are where the order leads: of the image and of what vouches for it.
func (o Order) Places() []ref.Location {
	return slices.Concat(o.Images, o.Trees, o.Manifests, o.KeyLists)
}

// about is the log for lines of this package about the image, say; fetch names
// what it fetches itself.
func (o *Order) about(what string) *slog.Logger { return o.Fetch.Log.With("what", what) }

// Image is an image that passed.
type Image struct {
	File     *os.File // open for reading, at its start
	Source   string   // URL or path, without credentials
	Size     int64
	SHA256   []byte // nil where it was not checked
	RootHash []byte // likewise
	Salt     []byte // of the verity tree, where there is one
	Init     string // as asked for, or as the manifest says
	Signed   *Signed
	Tree     *Tree // nil unless Order.KeepTree
	Stats    fetch.Stats
	Seeded   int64    // bytes that seeds had of it
	Artifact [][]byte // as oci.Follow reads it, where a registry had the image
	close    func() error
}

// Close closes File and the tree; what was fetched into memory is gone then.
func (i *Image) Close() error {
	var err error
	if i.Tree != nil {
		err = i.Tree.File.Close()
	}
	return errors.Join(err, i.close())
}

// Get gets the image and verifies it: first the manifest, then the tree, then
// the image while it streams by. Where a tag means to one registry what can't
// be used, the next one is asked what it means there.
func Get(ctx context.Context, o Order) (*Image, error) {
	for {
		image, asked, err := get(ctx, o)
		rest := slices.DeleteFunc(slices.Clone(o.Images), func(l ref.Location) bool { return asked != nil && l.Artifact() == asked.from })
		if asked == nil || asked.pinned || len(inRegistry(rest)) == 0 ||
			!slices.Contains([]fault.Class{fault.Artifact, fault.Signature, fault.Mismatch, fault.Policy, fault.Rollback}, fault.ClassOf(err)) {
			return image, err
		}
		o.about("image").Warn(err.Error()+"; now the next registry", "err", err)
		o.Images = rest
	}
}

// get gets the image. Where that is in a registry, it tells what was asked for.
func get(ctx context.Context, o Order) (*Image, *artifact, error) {
	if err := o.locate(ctx); err != nil {
		return nil, o.artifact, err
	}
	image, err := o.get(ctx)
	if err != nil {
		return nil, o.artifact, err
	}
	return image, o.artifact, nil
}

// get goes the way of the order: what is signed, what a registry says, the tree,
// the image.
func (o *Order) get(ctx context.Context) (*Image, error) {
	image := &Image{Init: o.Init}
	size, err := o.getSigned(ctx, image)
	if err != nil {
		return nil, err
	}
	if o.artifact != nil {
		if err := o.applyArtifact(o.artifact); err != nil {
			return nil, err
		}
		image.Artifact = o.artifact.documents
		if size > 0 && size != o.artifact.Image.Size {
			return nil, fault.Errorf(fault.Mismatch, "%s has an image of %d bytes, the manifest names one of %d", o.artifact.from, o.artifact.Image.Size, size)
		}
		size = o.artifact.Image.Size
	}
	if err := o.checkComplete(); err != nil {
		return nil, err
	}
	image.SHA256, image.RootHash = o.SHA256, o.RootHash
	if o.Fetch.Untrusted {
		image.SHA256 = nil // a registry's word is no check
	}
	if o.RootHash != nil {
		return image, image.getByTree(ctx, *o, size)
	}
	return image, image.getWhole(ctx, *o, size, nil)
}

// getSigned gets the manifest, where one is wanted or named, and returns the
// size that it says the image has; 0: none does.
func (o *Order) getSigned(ctx context.Context, image *Image) (size int64, err error) {
	if len(o.Keys) == 0 && len(o.Manifests) == 0 {
		return 0, nil
	}
	signed, err := getManifest(ctx, o)
	if err != nil {
		return 0, err
	}
	pinned := o.SHA256
	if size, err = o.applyManifest(signed); err != nil {
		return 0, err
	}
	// Hash once: where the tree vouches for every block, and the manifest for
	// the tree's root and for the size, the manifest's SHA-256 says nothing
	// new. One that somebody else pinned does.
	if o.RootHash != nil && !o.Fetch.Digest {
		o.SHA256 = pinned
	}
	image.Signed, image.Init = signed, signed.Manifest.Init
	if o.artifact == nil { // it may be the manifest that names one
		err = o.locate(ctx)
	}
	return size, err
}

// checkComplete refuses an order that has no image, or no root hash where the
// blocks are to be verified one by one.
func (o *Order) checkComplete() error {
	switch {
	case len(o.Images) == 0:
		return fault.Errorf(fault.NoImage, "no image is named")
	case o.RootHash != nil:
	case o.KeepTree:
		return fault.Errorf(fault.Policy, "every block is to be verified when it is read, and no root hash is known: give roothash=, or sign the image with its verity tree beside it")
	case o.Stream != nil && !local(o.Images):
		return fault.Errorf(fault.Policy, "the image is to be used while it comes, and no root hash vouches for its blocks: give roothash=, or sign the image with its verity tree beside it")
	}
	return nil
}

// getByTree gets the verity tree, and the image by the first way that serves:
// while it is used, from seeds, whole.
func (i *Image) getByTree(ctx context.Context, o Order, size int64) error {
	tree, file, err := getTree(ctx, o)
	if err != nil {
		return err
	}
	i.Salt = tree.Superblock().Salt
	if o.KeepTree {
		i.Tree = &Tree{file, o.RootHash, tree.Superblock()}
	} else {
		defer file.Close() // it is only read
	}
	if size > 0 && size != tree.Size() {
		return i.withoutTree(fault.Errorf(fault.Policy, "an image of %d bytes is named, and the verity tree is of %d", size, tree.Size()))
	}
	if o.Stream != nil && !local(o.Images) {
		if done, err := i.stream(ctx, o, tree, file); done || err != nil {
			return i.withoutTree(err)
		}
	}
	if len(o.Seeds) > 0 && !local(o.Images) {
		if done, err := i.seeded(ctx, o, tree); done || err != nil {
			return i.withoutTree(err)
		}
	}
	return i.withoutTree(i.getWhole(ctx, o, tree.Size(), tree.Verifier(runtime.NumCPU())))
}

// getWhole gets an image from where it is.
func (i *Image) getWhole(ctx context.Context, o Order, size int64, check verify.Verifier) error {
	if local(o.Images) {
		return i.open(ctx, o, size, check)
	}
	return i.fetch(ctx, o, size, check)
}

// withoutTree gives up a tree whose image can't be had because of err, if that
// is an error.
func (i *Image) withoutTree(err error) error {
	if err != nil && i.Tree != nil {
		_ = i.Tree.File.Close() // nothing was written
	}
	return err
}

func (i *Image) fetch(ctx context.Context, o Order, size int64, check verify.Verifier) error {
	r := o.Fetch
	r.Mirrors, r.SHA256, r.Verify, r.Size = o.Images, o.SHA256, check, size
	got, err := fetch.Get(ctx, r)
	if err != nil {
		return err
	}
	if r.Digest {
		i.SHA256 = got.SHA256[:]
	}
	i.File, i.Source, i.Size, i.Stats, i.close = got.File, got.Source, got.Size, got.Stats, got.Close
	return nil
}

// tighten returns the digest that holds when both sides name one.
func tighten(what string, asked, signed []byte) ([]byte, error) {
	if asked != nil && signed != nil && !bytes.Equal(asked, signed) {
		return nil, fault.Errorf(fault.Policy, "the %s asked for is %x, the manifest says %x", what, asked, signed)
	}
	if asked != nil {
		return asked, nil
	}
	return signed, nil
}
