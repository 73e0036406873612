package vouch

import (
	"context"
	"errors"
	"io"
	"os"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/verify"
	"netstage/stage1/fault"
)

// open opens a local image, and verifies it before anyone sees it.
func (i *Image) open(ctx context.Context, o Order, size int64, check verify.Verifier) error {
	i.Source = o.Images[0].Path
	f, err := os.Open(i.Source)
	if err != nil {
		return fault.Errorf(fault.NoImage, "image: %v", err)
	}
	if o.Load != nil {
		if f, err = load(ctx, o, f); err != nil {
			return err
		}
	}
	i.Size, err = f.Seek(0, io.SeekEnd) // of a device, too
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	switch {
	case err != nil:
	case size > 0 && i.Size != size:
		err = fault.Errorf(fault.Mismatch, "%s has %d bytes, expected %d", i.Source, i.Size, size)
	case o.SHA256 != nil || check != nil:
		err = verify.Check(ctx, i.Source, f, o.SHA256, check)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	i.File, i.close = f, f.Close
	if o.Load != nil {
		i.close = func() error { return errors.Join(f.Close(), o.Fetch.Store.Close()) }
	}
	if err != nil {
		return errors.Join(err, i.close())
	}
	return nil
}

// load returns a copy of a local image in the store, and closes the image.
func load(ctx context.Context, o Order, f *os.File) (*os.File, error) {
	defer f.Close()
	length, err := o.Load(f)
	if err != nil {
		return nil, err
	}
	if o.Patience > 0 {
		return fetch.Load(ctx, o.Fetch, Patient(f, o.Patience), length)
	}
	return fetch.Load(ctx, o.Fetch, f, length)
}

// open reads a document of this machine.
func (s *signedBy) open(what string, place ref.Location) (*document, error) {
	var err error
	if s.body, err = manifest.ReadFile(place.Path, manifest.Most); err != nil {
		return nil, fault.Errorf(fault.Signature, "%s: %v", what, err)
	}
	if s.signature, err = manifest.ReadFile(place.WithSuffix(manifest.Suffix).Path, manifest.MostSignature); err != nil {
		return nil, fault.Errorf(fault.Signature, "%s: its signature: %v", what, err)
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return &document{Document{s.body, s.signature}, place.Path, s.signers, []ref.Location{place}}, nil
}

// split parts files from what servers have. Files come first.
func split(locations []ref.Location) (files, servers []ref.Location) {
	for _, l := range locations {
		if l.Kind == ref.File {
			files = append(files, l)
		} else {
			servers = append(servers, l)
		}
	}
	return files, servers
}

// local tells whether the first of the locations is a file, and thereby the
// only one.
func local(locations []ref.Location) bool { return locations[0].Kind == ref.File }
