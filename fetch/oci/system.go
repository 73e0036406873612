package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"netstage/stage1/fault"
)

// Media types of the layers, one for each file (docs/registry.md).
const (
	ArtifactType  = "application/vnd.netstage.system.v1"
	TypeKernel    = "application/vnd.netstage.kernel.v1"
	TypeInitrd    = "application/vnd.netstage.initrd.v1"
	TypeCmdline   = "application/vnd.netstage.cmdline.v1"
	TypeSquashfs  = "application/vnd.netstage.image.v1.squashfs"
	TypeErofs     = "application/vnd.netstage.image.v1.erofs"
	TypeTree      = "application/vnd.netstage.verity.v1"
	TypeHot       = "application/vnd.netstage.hot.v1"
	TypeManifest  = "application/vnd.netstage.manifest.v1+json"
	TypeSignature = "application/vnd.netstage.signature.v1"
)

// RootHash is the annotation of an image's layer with the root of its verity
// tree.
const RootHash = "vnd.netstage.roothash"

// A System is what a machine needs of an artifact.
type System struct {
	Image     Descriptor // without a digest: there is none
	RootHash  []byte     // nil: not told
	Tree      *Descriptor
	Manifest  *Descriptor
	Signature *Descriptor
	Hot       *Descriptor
	Layers    []Descriptor // all of them
}

// Read reads a manifest, or an index: then it returns the descriptor of the
// manifest for the platform, and no system.
func Read(body []byte, p Platform) (*System, *Descriptor, error) {
	manifests, layers, err := parse(body)
	switch {
	case err != nil:
		return nil, nil, err
	case manifests != nil:
		d, err := choose(manifests, p)
		return nil, d, err
	}
	s, err := systemOf(layers)
	return s, nil, err
}

// Follow reads what was kept of an artifact, a manifest, or an index and the
// manifest that was chosen from it: the digest vouches for the first, and that
// one for the next.
func Follow(digest string, documents [][]byte, p Platform) (*System, error) {
	for _, body := range documents {
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != digest {
			return nil, fault.Errorf(fault.Policy, "it is of the artifact sha256:%x, wanted is sha256:%s", sum, digest)
		}
		s, next, err := Read(body, p)
		if err != nil || s != nil {
			return s, err
		}
		digest = next.Digest
	}
	return nil, fault.Errorf(fault.Policy, "no manifest is known with it that has the digest sha256:%s", digest)
}

// choose is the manifest for a platform: one of the same variant, else one that
// names none.
func choose(manifests []Descriptor, p Platform) (*Descriptor, error) {
	var best *Descriptor
	var there []string
	for i, m := range manifests {
		there = append(there, m.Platform.String())
		if m.Platform.OS != p.OS || m.Platform.Architecture != p.Architecture {
			continue
		}
		switch v := m.Platform.Variant; {
		case v == p.Variant && (best == nil || best.Platform.Variant != p.Variant):
			best = &manifests[i]
		case best == nil && (v == "" || p.Variant == ""):
			best = &manifests[i]
		}
	}
	if best == nil {
		return nil, fault.Errorf(fault.Artifact, "it has nothing for %s: there is %s", p, listed(there))
	}
	return best, nil
}

// systemOf finds the layers by their types.
func systemOf(layers []Descriptor) (*System, error) {
	s := &System{Layers: layers}
	var images []string
	for i, l := range layers {
		switch {
		case isImage(l):
			images = append(images, l.Title())
			s.Image = l
		case l.MediaType == TypeTree:
			s.Tree = &layers[i]
		case l.MediaType == TypeManifest:
			s.Manifest = &layers[i]
		case l.MediaType == TypeSignature:
			s.Signature = &layers[i]
		case l.MediaType == TypeHot:
			s.Hot = &layers[i]
		}
	}
	switch {
	case len(images) == 0:
		return s, nil
	case len(images) > 1:
		return nil, fault.Errorf(fault.Artifact, "more than one of its layers is an image: %s", listed(images))
	case s.Image.Size == 0:
		return nil, fault.Errorf(fault.Artifact, "its image is empty")
	}
	var err error
	s.RootHash, err = rootHash(s.Image)
	return s, err
}

// NoImage is why the image can't be had, nil where it can.
func (s *System) NoImage() error {
	if s.Image.Digest != "" {
		return nil
	}
	var there []string
	for _, l := range s.Layers {
		there = append(there, l.MediaType)
	}
	return fault.Errorf(fault.Artifact, "none of its layers is an image of a system: there is %s", listed(there))
}

// isImage tells whether a layer is a file system as it is: by our types, those
// of erofs and of stacker, or by its name where oras has pushed it with none.
func isImage(l Descriptor) bool {
	switch l.MediaType {
	case TypeSquashfs, TypeErofs, "application/vnd.erofs", "application/vnd.stacker.image.layer.squashfs":
		return true
	case "application/vnd.oci.image.layer.v1.tar", "application/octet-stream": // oras's, of files
		return strings.HasSuffix(l.Title(), ".squashfs") || strings.HasSuffix(l.Title(), ".erofs")
	}
	return strings.HasPrefix(l.MediaType, "application/vnd.stacker.image.layer.squashfs+verity")
}

// rootHash is what an image's annotations say of its verity tree.
func rootHash(image Descriptor) ([]byte, error) {
	text := image.Annotations[RootHash]
	if text == "" {
		return nil, nil
	}
	hash, err := hex.DecodeString(text)
	if err != nil || len(hash) != 32 {
		return nil, fault.Errorf(fault.Artifact, "its image has the root hash %q, which is not 64 hexadecimal digits", text)
	}
	return hash, nil
}

// listed are words for a message, once each and not without end.
func listed(words []string) string {
	slices.Sort(words)
	words = slices.Compact(words)
	const most = 8
	more := ""
	if len(words) > most {
		words, more = words[:most], ", …"
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ") + more
}
