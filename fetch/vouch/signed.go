package vouch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
)

// Signed is a manifest, where it was found and who signed it.
type Signed struct {
	*manifest.Manifest
	Source string // URL or path, without credentials
	Key    manifest.Key
	places []ref.Location // mirrors that have it
}

func (s *Signed) tell(log *slog.Logger) {
	log.Info(fmt.Sprintf("manifest: %q of %s, signed by %s (%s), init %s", s.Name, s.Created.Format("2006-01-02 15:04"), s.Key.Name, s.Key.ID(), s.Init))
}

// obey makes the order what the manifest allows, and returns the image's size.
func (o *Order) obey(s *Signed) (size int64, err error) {
	if err := s.AllowInit(o.Init); err != nil {
		return 0, err
	}
	if s.Created.Before(o.NotBefore) {
		return 0, refuse("policy", "the manifest %q is of %s, older than the %s that is asked for: an old one is being replayed, or the new one was not uploaded",
			s.Name, s.Created.UTC().Format(time.RFC3339), o.NotBefore.UTC().Format(time.RFC3339))
	}
	image := s.Images[0]
	if o.SHA256, err = tighten("SHA-256", o.SHA256, image.SHA256); err != nil {
		return 0, err
	}
	if o.RootHash, err = tighten("root hash", o.RootHash, image.RootHash); err != nil {
		return 0, err
	}
	if len(o.Images) > 0 {
		return image.Size, nil // wherever it comes from, it is the one that was signed
	}
	name, err := ref.Parse(image.Path)
	if err != nil {
		return 0, err
	}
	for _, place := range s.places {
		location, err := name.Beside(place)
		if err != nil {
			return 0, err
		}
		o.Images = append(o.Images, location)
	}
	return image.Size, nil
}

// getManifest gets the manifest and its signature, and checks them. A mirror whose pair is refused is left for the next.
func getManifest(ctx context.Context, o Order) (*Signed, error) {
	switch {
	case len(o.Manifests) == 0:
		return nil, refuse("signature", "the image must be signed by %s, and no manifest is named: give rootfs.manifest=", names(o.Keys))
	case len(o.Keys) == 0:
		return nil, refuse("signature", "there is a manifest to be checked, and no trusted key to check it by")
	case local(o.Manifests):
		signed, err := openManifest(o.Manifests[0], o.Keys)
		if err == nil {
			signed.tell(o.Fetch.Log)
		}
		return signed, err
	}
	signed, err := anyManifest(ctx, o)
	var refused *manifest.Error
	if !errors.As(err, &refused) || refused.Class() != "signature" {
		return signed, err
	}
	// Manifest and signature are two files: they may have been replaced just now.
	o.Fetch.Log.Warn(fmt.Sprintf("manifest: once more in %v, in case it was being replaced: %v", pause, err))
	select {
	case <-ctx.Done():
		return nil, err
	case <-time.After(pause):
	}
	return anyManifest(ctx, o)
}

// mostSignature is the largest signature that is read.
const mostSignature = 4 << 10

// pause is how long a manifest that was refused is given.
const pause = time.Second

// anyManifest tries one mirror after the other.
func anyManifest(ctx context.Context, o Order) (*Signed, error) {
	places := slices.Clone(o.Manifests)
	var first error
	for len(places) > 0 {
		signed, from, err := fetchManifest(ctx, o, places)
		if err == nil {
			signed.tell(o.Fetch.Log)
			signed.places = places
			return signed, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || from == "" {
			break
		}
		// The manifest fits no signature of this mirror's.
		places = slices.DeleteFunc(places, func(place ref.Location) bool {
			return place.WithSuffix(manifest.Suffix).String() == from
		})
	}
	return nil, first
}

func openManifest(place ref.Location, keys manifest.Keys) (*Signed, error) {
	body, err := manifest.ReadFile(place.Path, manifest.Most)
	if err != nil {
		return nil, refuse("signature", "manifest: %v", err)
	}
	signature, err := manifest.ReadFile(place.WithSuffix(manifest.Suffix).Path, mostSignature)
	if err != nil {
		return nil, refuse("signature", "manifest: its signature: %v", err)
	}
	m, key, err := keys.Verify(body, signature)
	if err != nil {
		return nil, err
	}
	return &Signed{Manifest: m, Source: place.Path, Key: key, places: []ref.Location{place}}, nil
}

// fetchManifest also says which mirror the signature is from, once there is one.
func fetchManifest(ctx context.Context, o Order, places []ref.Location) (s *Signed, from string, err error) {
	r := o.Fetch
	r.What, r.Checked, r.Digest, r.Mirrors, r.Progress = "signature", true, false, nil, nil
	for _, place := range places {
		r.Mirrors = append(r.Mirrors, place.WithSuffix(manifest.Suffix))
	}
	signature, err := fetch.GetBlob(ctx, r, mostSignature)
	if err != nil {
		return nil, "", err
	}
	defer signature.Close()
	check := &signedBy{keys: o.Keys, signature: signature.Bytes}
	r.What, r.Checked, r.Verify, r.Mirrors = "manifest", false, check, places
	blob, err := fetch.GetBlob(ctx, r, manifest.Most)
	if err != nil {
		return nil, signature.Source, err
	}
	defer blob.Close()
	return &Signed{Manifest: check.manifest, Source: blob.Source, Key: check.key}, "", nil
}

// signedBy verifies a manifest as it streams by: a fetch.Verifier.
type signedBy struct {
	keys      manifest.Keys
	signature []byte
	body      []byte
	manifest  *manifest.Manifest
	key       manifest.Key
}

func (s *signedBy) Write(p []byte) (int, error) {
	s.body = append(s.body, p...)
	return len(p), nil
}

func (s *signedBy) Reset() { s.body = nil }

func (s *signedBy) Close() (err error) {
	s.manifest, s.key, err = s.keys.Verify(s.body, s.signature)
	return err
}

func names(keys manifest.Keys) string {
	text := keys[0].Name
	for _, k := range keys[1:] {
		text += " or " + k.Name
	}
	return text
}
