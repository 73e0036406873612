package vouch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// Signed is a manifest, where it was found and who signed it.
type Signed struct {
	*manifest.Manifest
	Source string // URL or path, without credentials
	Keys   manifest.Keys
	SHA256 [32]byte // of its bytes
	// List is the serial of the key list that its keys are of, 0 without one.
	List uint64
	// What was signed: the manifest, and the key list, where there is one.
	Document, KeyList Document
	places            []ref.Location // mirrors that have it
}

func (s *Signed) announce(log *slog.Logger) {
	serial := ""
	if s.Serial > 0 {
		serial = fmt.Sprintf(", serial %d", s.Serial)
	}
	log.Info(fmt.Sprintf("%q of %s%s, signed by %s (%s), init %s", s.Name, s.Created.Format("2006-01-02 15:04"), serial,
		strings.Join(s.Keys.Names(), ", "), strings.Join(s.Keys.IDs(), ", "), s.Init))
}

// accept refuses a manifest that is not the one that is wanted, or not now. A
// mirror may have another.
func (o *Order) accept(m *manifest.Manifest) error {
	switch {
	case m.Version < o.Version:
		return fault.Errorf(fault.Policy, "the manifest %q is of version %d of the format, and the initrd wants version %d: sign it by a newer netstage", m.Name, m.Version, o.Version)
	case o.Name != "" && m.Name != o.Name:
		return fault.Errorf(fault.Policy, "the manifest is of %q, and %q is wanted", m.Name, o.Name)
	case m.Created.Before(o.NotBefore):
		return fault.Errorf(fault.Policy, "the manifest %q is of %s, older than the %s that is asked for: an old one is being replayed, or the new one was not uploaded",
			m.Name, m.Created.UTC().Format(time.RFC3339), o.NotBefore.UTC().Format(time.RFC3339))
	}
	if err := o.remembered(m.Name, m.Serial); err != nil {
		return err
	}
	if m.Version < manifest.Version2 {
		return nil
	}
	return o.valid(m.Name, m.Created, m.NotBefore, m.NotAfter)
}

// remembered refuses what is older than what was booted before.
func (o *Order) remembered(name string, serial uint64) error {
	if o.Highest == nil {
		return nil
	}
	if highest := o.Highest(name); serial < highest {
		return fault.Errorf(fault.Rollback, "the manifest %q has serial %d, and this machine has booted serial %d of it: an old one is being replayed, or the new one was not uploaded; to go back, sign the old image with a higher serial",
			name, serial, highest)
	}
	return nil
}

// valid refuses a document that holds at another time.
func (o *Order) valid(name string, created, notBefore, notAfter time.Time) error {
	if o.Valid != nil {
		return o.Valid(name, created, notBefore, notAfter)
	}
	return CheckTimes(name, time.Now(), notBefore, notAfter)
}

// CheckTimes refuses what does not hold at a time. A zero limit is none.
func CheckTimes(name string, now, notBefore, notAfter time.Time) error {
	switch {
	case now.Before(notBefore):
		return fault.Errorf(fault.Policy, "%q holds from %s on, and it is %s by this machine's clock", name, clock(notBefore), clock(now))
	case !notAfter.IsZero() && now.After(notAfter):
		return fault.Errorf(fault.Policy, "%q held until %s, and it is %s by this machine's clock: sign it anew", name, clock(notAfter), clock(now))
	}
	return nil
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// applyManifest makes the order what the manifest allows, and returns the
// image's size.
func (o *Order) applyManifest(s *Signed) (size int64, err error) {
	if err := s.AllowInit(o.Init); err != nil {
		return 0, err
	}
	if o.Cmdline != nil {
		if err := o.Cmdline(s.Cmdline); err != nil {
			return 0, err
		}
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

// getManifest gets the manifest, and before it the list of keys that it is to
// be signed by, where there is one.
func getManifest(ctx context.Context, o *Order) (*Signed, error) {
	switch {
	case len(o.Manifests) == 0:
		return nil, fault.Errorf(fault.Signature, "the image must be signed by %s, and no manifest is named: give rootfs.manifest=", strings.Join(o.Keys.Names(), " or "))
	case len(o.Keys) == 0:
		return nil, fault.Errorf(fault.Signature, "there is a manifest to be checked, and no trusted key to check it by")
	}
	serial, list, err := getKeys(ctx, o)
	if err != nil {
		return nil, err
	}
	var m *manifest.Manifest
	d, err := getDocument(ctx, *o, "manifest", o.Manifests, func(body []byte) (err error) {
		if m, err = manifest.Parse(body); err == nil {
			err = o.accept(m)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	signed := &Signed{Manifest: m, Source: d.source, Keys: d.signers, SHA256: sha256.Sum256(d.Body), List: serial, Document: d.Document, KeyList: list, places: d.places}
	signed.announce(o.about("manifest"))
	return signed, nil
}

// getKeys gets the list that replaces the keys of the order, and its serial. A
// machine that has booted by a list before wants one from then on: a key that
// the list no longer names would count again.
func getKeys(ctx context.Context, o *Order) (serial uint64, signed Document, err error) {
	if len(o.KeyLists) == 0 {
		if o.Highest != nil && o.Highest(manifest.KeyLists) > 0 {
			return 0, signed, fault.Errorf(fault.Rollback, "this machine has booted by a key list before, and none is named: give rootfs.manifest.keys=")
		}
		return 0, signed, nil
	}
	var list *manifest.KeyList
	var keys manifest.Keys
	d, err := getDocument(ctx, *o, "key list", o.KeyLists, func(body []byte) (err error) {
		if list, keys, err = manifest.ParseKeyList(body); err != nil {
			return err
		}
		if err = o.remembered(manifest.KeyLists, list.Serial); err != nil {
			return err
		}
		return o.valid("the key list", list.Created, time.Time{}, list.NotAfter)
	})
	if err != nil {
		return 0, signed, err
	}
	o.about("manifest").Info(fmt.Sprintf("key list %d of %s, signed by %s: %d of %s have to sign", list.Serial, list.Created.Format("2006-01-02 15:04"),
		strings.Join(d.signers.Names(), ", "), list.Threshold, strings.Join(keys.Names(), ", ")))
	o.Keys, o.Threshold = keys, max(o.Threshold, list.Threshold)
	return list.Serial, d.Document, nil
}

// A Document is what was signed, and the signature.
type Document struct{ Body, Signature []byte }

// A document is signed by enough of the keys that are trusted.
type document struct {
	Document
	source  string
	signers manifest.Keys
	places  []ref.Location // mirrors that may have it
}

// getDocument gets a document and its signature, and checks them. A mirror
// whose pair is refused is left for the next.
func getDocument(ctx context.Context, o Order, what string, places []ref.Location, accept func([]byte) error) (*document, error) {
	check := &signedBy{keys: o.Keys, threshold: o.Threshold, accept: accept}
	here, places := split(places)
	var failed error
	for _, place := range here {
		d, err := check.open(what, place)
		if err == nil || len(here) == 1 && len(places) == 0 {
			return d, err
		}
		o.Fetch.Log.Warn(err.Error()+"; now the next place", "err", err)
		failed = err
	}
	if len(places) == 0 {
		return nil, failed
	}
	d, err := check.any(ctx, o, what, places)
	if fault.ClassOf(err) != fault.Signature || o.artifact != nil && o.artifact.signatures[places[0].String()].Kind != 0 {
		return d, err
	}
	// Document and signature are two files: they may have been replaced just
	// now.
	o.about(what).Warn(fmt.Sprintf("once more in %v, in case it was being replaced", pause), "err", err)
	select {
	case <-ctx.Done():
		return nil, err
	case <-time.After(pause):
	}
	return check.any(ctx, o, what, places)
}

// pause is how long a document that was refused is given.
const pause = time.Second

// any tries one mirror after the other.
func (s *signedBy) any(ctx context.Context, o Order, what string, places []ref.Location) (*document, error) {
	places = slices.Clone(places)
	var first error
	for len(places) > 0 {
		d, from, err := s.fetch(ctx, o, what, places)
		if err == nil {
			d.places = places
			return d, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || from == "" {
			break
		}
		// The document fits no signature of this mirror's.
		places = slices.DeleteFunc(places, func(place ref.Location) bool {
			return o.signature(place).String() == from
		})
	}
	return nil, first
}

// fetch also says which mirror the signature is from, once there is one.
func (s *signedBy) fetch(ctx context.Context, o Order, what string, places []ref.Location) (d *document, from string, err error) {
	r := o.Fetch
	r.Cache = ref.Location{} // it may have an older one
	r.What, r.Checked, r.Digest, r.Mirrors, r.Progress = "signature", true, false, nil, nil
	for _, place := range places {
		r.Mirrors = append(r.Mirrors, o.signature(place))
	}
	signature, err := fetch.GetBlob(ctx, r, manifest.MostSignature)
	if err != nil {
		return nil, "", err
	}
	defer signature.Close()
	s.signature = signature.Bytes
	s.Reset()
	r.What, r.Checked, r.Verify, r.Mirrors = what, false, s, places
	blob, err := fetch.GetBlob(ctx, r, manifest.Most)
	if err != nil {
		return nil, signature.Source, err
	}
	defer blob.Close()
	return &document{Document: Document{s.body, bytes.Clone(s.signature)}, source: blob.Source, signers: s.signers}, "", nil
}

// signedBy verifies a document as it streams by: a verify.Verifier.
type signedBy struct {
	keys      manifest.Keys
	threshold int
	accept    func([]byte) error
	signature []byte
	body      []byte
	signers   manifest.Keys
}

func (s *signedBy) Write(p []byte) (int, error) {
	s.body = append(s.body, p...)
	return len(p), nil
}

func (s *signedBy) Reset() { s.body = nil }

func (s *signedBy) Close() (err error) {
	if s.signers, err = s.keys.Signers(s.body, s.signature, s.threshold); err == nil {
		err = s.accept(s.body)
	}
	return err
}
