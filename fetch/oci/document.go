// Package oci finds systems in OCI registries (distribution-spec 1.1,
// image-spec 1.1): which blobs of a manifest are the image and what vouches for
// it, and how a registry wants to be asked for them. The bytes are fetched by
// others.
package oci

import (
	"encoding/json"
	"runtime"
	"strings"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// Most is the largest manifest or index that is read, in bytes: what
// distribution-spec has registries accept.
const Most = 4 << 20

// Accept are the media types of manifests and indexes that are understood.
const Accept = ociManifest + ", " + ociIndex + ", " + dockerManifest + ", " + dockerIndex

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A Descriptor names a blob or a manifest.
type Descriptor struct {
	MediaType   string
	Digest      string // SHA-256, 64 hex digits
	Size        int64
	Annotations map[string]string
	Platform    Platform // of an index's entries
}

// Title is the name of the file that a layer is.
func (d Descriptor) Title() string { return d.Annotations["org.opencontainers.image.title"] }

// A Platform is what a manifest is for.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

// String is the platform as registries' tools write it.
func (p Platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// Here is this program's platform.
func Here() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// document is a manifest or an index. What is not used is not looked at.
type document struct {
	SchemaVersion int
	MediaType     string
	ArtifactType  string
	Manifests     []descriptor
	Layers        []descriptor
}

// descriptor is one as it is written.
type descriptor struct {
	MediaType   string
	Digest      string
	Size        int64
	Annotations map[string]string
	Platform    *Platform
}

// parse reads a manifest or an index, of which one list or the other is nil.
func parse(body []byte) (manifests, layers []Descriptor, err error) {
	bad := func(format string, args ...any) ([]Descriptor, []Descriptor, error) {
		return nil, nil, fault.Errorf(fault.Artifact, "it is no manifest: "+format, args...)
	}
	if len(body) > Most {
		return bad("it has more than %d bytes", Most)
	}
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return bad("%w", err)
	}
	// What is both would be one thing to us and another to somebody else
	// (GHSA-qq97-vm5h-rrhg).
	switch {
	case d.SchemaVersion != 2:
		return bad("its schemaVersion is %d, not 2", d.SchemaVersion)
	case d.Manifests != nil && d.Layers != nil:
		return bad("it has layers and manifests")
	case d.Manifests != nil && (d.MediaType == "" || d.MediaType == ociIndex || d.MediaType == dockerIndex):
		manifests, err = descriptors(d.Manifests)
	case d.Layers != nil && (d.MediaType == "" || d.MediaType == ociManifest || d.MediaType == dockerManifest):
		layers, err = descriptors(d.Layers)
	default:
		return bad("its media type is %q, and it has %d layers and %d manifests", d.MediaType, len(d.Layers), len(d.Manifests))
	}
	return manifests, layers, err
}

func descriptors(list []descriptor) ([]Descriptor, error) {
	out := make([]Descriptor, 0, len(list))
	for _, d := range list {
		hex, ok := strings.CutPrefix(d.Digest, "sha256:")
		if !ok || !ref.IsDigest(hex) {
			return nil, fault.Errorf(fault.Artifact, "it names %s by the digest %q, which is not sha256: and 64 hexadecimal digits", d.MediaType, d.Digest)
		}
		if d.Size < 0 {
			return nil, fault.Errorf(fault.Artifact, "it names %s with the size %d", d.MediaType, d.Size)
		}
		p := Platform{}
		if d.Platform != nil {
			p = *d.Platform
		}
		out = append(out, Descriptor{d.MediaType, hex, d.Size, d.Annotations, p})
	}
	return out, nil
}
