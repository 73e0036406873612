package vouch

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/stage1/fault"
)

// artifact is what registries have under one digest. All registries that were
// named are mirrors of it.
type artifact struct {
	*oci.System
	places     []ref.Artifact // with the digest of the manifest
	from       ref.Artifact   // who was asked what it is
	digest     string         // of what was named: a manifest, or an index
	pinned     bool           // somebody trusted named it
	documents  [][]byte       // the manifest, or the index and its manifest
	signatures map[string]ref.Location
}

// inRegistry are the images that are in registries, once each.
func inRegistry(places []ref.Location) (all []ref.Artifact) {
	for _, l := range places {
		if a := l.Artifact(); l.Kind == ref.OCI && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// locate puts the blobs of an artifact in the place of the references to it,
// with the tree and, where keys are trusted, the manifest that are in it,
// unless others are named.
func (o *Order) locate(ctx context.Context) error {
	for _, l := range slices.Concat(o.Trees, o.Manifests, o.KeyLists) {
		if l.Kind == ref.OCI {
			return fault.Errorf(fault.BadURL, "%s: what vouches for an image in a registry is in its artifact: name that by rootfs= alone", l)
		}
	}
	all := inRegistry(o.Images)
	if len(all) == 0 {
		return nil
	}
	a, err := o.resolve(ctx, all)
	o.artifact = a
	if err == nil && a.NoImage() != nil {
		err = fault.Errorf(fault.Artifact, "%s: %w", a.from, a.NoImage())
	}
	if err != nil {
		return err
	}
	if (len(o.Keys) > 0 || o.Name != "" || len(o.KeyLists) > 0) && len(o.Manifests) == 0 {
		if err := o.locateManifest(a); err != nil {
			return err
		}
	}
	own := len(o.Trees) == 0
	if own {
		if o.Trees, err = a.blobs(a.Tree); err != nil {
			return err
		}
	}
	images, err := a.blobs(&a.Image)
	if err != nil {
		return err
	}
	var mirrors []ref.Location
	for _, l := range o.Images {
		switch {
		case l.Kind == ref.OCI: // all of them where the first one is
			mirrors, images = append(mirrors, images...), nil
		default:
			mirrors = append(mirrors, l)
			if own {
				o.Trees = append(o.Trees, l.WithSuffix(".verity"))
			}
		}
	}
	o.Images = mirrors
	return nil
}

// locateManifest has the artifact's manifest be the one that must be signed.
func (o *Order) locateManifest(a *artifact) error {
	if a.Manifest == nil || a.Signature == nil {
		return fault.Errorf(fault.Signature, "the image must be signed, and %s holds no signed manifest", a.from)
	}
	manifests, err := a.blobs(a.Manifest)
	if err != nil {
		return err
	}
	signatures, err := a.blobs(a.Signature)
	if err != nil {
		return err
	}
	o.Manifests, a.signatures = manifests, map[string]ref.Location{}
	for i, m := range manifests {
		a.signatures[m.String()] = signatures[i]
	}
	return nil
}

// signature is where the signature of a manifest is.
func (o *Order) signature(place ref.Location) ref.Location {
	if o.artifact != nil {
		if l, ok := o.artifact.signatures[place.String()]; ok {
			return l
		}
	}
	return place.WithSuffix(manifest.Suffix)
}

// blobs are the mirrors of a layer, none of one that is not there.
func (a *artifact) blobs(d *oci.Descriptor) (all []ref.Location, err error) {
	if d == nil {
		return nil, nil
	}
	for _, place := range a.places {
		blob, err := place.Blob(d.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, blob)
	}
	return all, nil
}

// resolve learns what an artifact is made of: by its digest, which must be the
// same wherever one is named, else by what the tag means to the registry that
// answers first.
func (o *Order) resolve(ctx context.Context, all []ref.Artifact) (*artifact, error) {
	a := &artifact{from: all[0]}
	auth := oci.NewAuth(o.Credentials)
	o.Fetch.Transport = auth.Transport
	pin := ""
	for _, place := range all {
		auth.Add(place)
		if pin != "" && place.Digest != "" && place.Digest != pin {
			return a, fault.Errorf(fault.Policy, "%s and sha256:%s are two artifacts, and one image is wanted", place, pin)
		}
		if place.Digest != "" {
			pin, a.pinned = place.Digest, true
		}
	}
	body, source, err := o.ask(ctx, all, pin, a.pinned)
	if err != nil {
		return a, err
	}
	for i, place := range all {
		if pin == "" {
			pin = source.digest
		}
		if m, err := place.Manifest(); err == nil && m.String() == source.url {
			a.from = place
		}
		all[i] = place.At(pin)
	}
	platform := o.Platform
	if platform.OS == "" {
		platform = oci.Here()
	}
	a.digest, a.documents = pin, [][]byte{body}
	system, next, err := oci.Read(body, platform)
	if next != nil {
		for i, place := range all {
			all[i] = place.At(next.Digest)
		}
		if body, _, err = o.ask(ctx, all, next.Digest, a.pinned); err != nil {
			return a, err
		}
		a.documents = append(a.documents, body)
		if system, next, err = oci.Read(body, platform); next != nil {
			err = fault.Errorf(fault.Artifact, "it is an index in an index")
		}
	}
	if err != nil {
		return a, fault.Errorf(fault.Artifact, "%s: %w", a.from, err)
	}
	a.System, a.places = system, all
	o.about("image").Info(fmt.Sprintf("%s is sha256:%s, %d MiB", a.from, pin, (system.Image.Size+1<<20-1)>>20))
	return a, nil
}

// said is who answered, and the digest of the answer.
type said struct{ url, digest string }

// ask gets a manifest or an index. With a digest it is that one; where
// nobody trusted names it, that finds faults and vouches for nothing.
func (o *Order) ask(ctx context.Context, places []ref.Artifact, digest string, trusted bool) ([]byte, said, error) {
	r := o.Fetch
	r.What, r.Accept, r.Mirrors, r.Progress, r.Digest, r.Size, r.Verify, r.SHA256 = "registry's manifest", oci.Accept, nil, nil, true, 0, nil, nil
	// What the image must be, something else may say.
	r.Untrusted, r.Checked = !trusted, o.SHA256 != nil || o.RootHash != nil || len(o.Keys) > 0
	for _, place := range places {
		if digest != "" {
			place = place.At(digest)
		}
		l, err := place.Manifest()
		if err != nil {
			return nil, said{}, err
		}
		r.Mirrors = append(r.Mirrors, l)
	}
	if digest != "" {
		var err error
		if r.SHA256, err = hex.DecodeString(digest); err != nil {
			return nil, said{}, err
		}
	}
	blob, err := fetch.GetBlob(ctx, r, oci.Most)
	if err != nil {
		return nil, said{}, err
	}
	defer blob.Close()
	return slices.Clone(blob.Bytes), said{blob.Source, hex.EncodeToString(blob.SHA256[:])}, nil
}

// applyArtifact has the order hold what an artifact says of its image: where
// its digest is trusted as if it were asked for, and else, where nothing
// vouches, as what a server says.
func (o *Order) applyArtifact(a *artifact) error {
	digest, err := hex.DecodeString(a.Image.Digest)
	if err != nil {
		return err
	}
	if o.SHA256 != nil && !bytes.Equal(o.SHA256, digest) {
		return fault.Errorf(fault.Mismatch, "%s has an image of the sha256 %x, expected %x", a.from, digest, o.SHA256)
	}
	switch {
	case a.pinned && a.RootHash != nil && len(o.Trees) > 0:
		if o.RootHash, err = tighten("root hash", o.RootHash, a.RootHash); err != nil {
			return err
		}
		if o.Fetch.Digest {
			o.SHA256 = digest
		}
	case a.pinned:
		o.SHA256 = digest
	case o.SHA256 == nil && o.RootHash == nil:
		o.SHA256, o.Fetch.Untrusted = digest, true
	}
	return nil
}

// An Artifact is what registries have under one digest.
type Artifact struct {
	*oci.System
	Digest  string         // of what was named: a manifest, or an index
	Places  []ref.Artifact // that have it
	Request fetch.Request  // asks for its blobs as their registries want it
}

// Find finds the artifact that the order's images name. Nothing vouches for it
// but a digest in their references.
func Find(ctx context.Context, o Order) (*Artifact, error) {
	a, err := o.resolve(ctx, inRegistry(o.Images))
	if err != nil {
		return nil, err
	}
	return &Artifact{a.System, a.digest, a.places, o.Fetch}, nil
}

// Layer gets one layer into a store, verified.
func (a *Artifact) Layer(ctx context.Context, d oci.Descriptor, s store.Store) (*fetch.Image, error) {
	r := a.Request
	r.Store, r.What, r.Size = s, d.Title(), d.Size
	for _, place := range a.Places {
		blob, err := place.Blob(d.Digest)
		if err != nil {
			return nil, err
		}
		r.Mirrors = append(r.Mirrors, blob)
	}
	var err error
	if r.SHA256, err = hex.DecodeString(d.Digest); err != nil {
		return nil, err
	}
	return fetch.Get(ctx, r)
}
