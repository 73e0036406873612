package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"netstage/fetch/oci"
)

// A Push says what goes to a registry.
type Push struct {
	Files    []File
	Tags     []string // at least one, unless it is to be found by digest alone
	Platform string   // OS/ARCHITECTURE[/VARIANT]: the tags name an index with it
	// Tell hears of each file: how much of it was sent, or that it was there.
	Tell func(f File, sent int64, there bool)
}

// tries is how often a file is sent before it is given up.
const tries = 5

// To pushes, and returns the digest of what the tags name, as sha256:HEX. What
// is there already is not sent again, and tags change when all else is there.
func (p Push) To(ctx context.Context, repo *remote.Repository) (string, error) {
	for i, f := range p.Files {
		if slices.ContainsFunc(p.Files[:i], func(o File) bool { return o.SHA256 == f.SHA256 }) {
			continue
		}
		if err := p.file(ctx, repo, f); err != nil {
			return "", fmt.Errorf("push %s: %w", f.Name, err)
		}
	}
	desc, err := p.manifest(ctx, repo)
	if err != nil {
		return "", fmt.Errorf("push the manifest: %w", err)
	}
	tagged := desc
	for _, tag := range p.Tags {
		if p.Platform != "" {
			if tagged, err = p.index(ctx, repo, desc, tag); err != nil {
				return "", fmt.Errorf("push the index of %s: %w", tag, err)
			}
		}
		if err := repo.Tag(ctx, tagged, tag); err != nil {
			return "", fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	return tagged.Digest.String(), nil
}

// file sends one file, if the registry lacks it.
func (p Push) file(ctx context.Context, repo *remote.Repository, f File) error {
	desc := descriptor(f)
	for try := 1; ; try++ {
		there, err := repo.Blobs().Exists(ctx, desc)
		if err == nil && there {
			p.Tell(f, f.Size, true)
			return nil
		}
		if err == nil {
			err = p.send(ctx, repo, f)
		}
		if err == nil || try == tries || ctx.Err() != nil || permanent(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * time.Second):
		}
	}
}

// permanent tells whether another try would end the same.
func permanent(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode/100 == 4 && answer.StatusCode != 429 && answer.StatusCode != 408
}

func (p Push) send(ctx context.Context, repo *remote.Repository, f File) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	// Neither more nor less: the registry would complain of a digest.
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.Size {
		return fmt.Errorf("it was changed while it was pushed: %d bytes became %d", f.Size, info.Size())
	}
	return repo.Blobs().Push(ctx, descriptor(f), &counted{file, 0, func(n int64) { p.Tell(f, n, false) }})
}

// counted tells how much was read.
type counted struct {
	io.Reader
	n    int64
	tell func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if c.n += int64(n); n > 0 {
		c.tell(c.n)
	}
	return n, err
}

func descriptor(f File) ocispec.Descriptor {
	d := ocispec.Descriptor{
		MediaType: f.Type, Digest: digest.NewDigestFromEncoded(digest.SHA256, f.SHA256), Size: f.Size,
		Annotations: map[string]string{ocispec.AnnotationTitle: f.Name},
	}
	if f.RootHash != "" {
		d.Annotations[oci.RootHash] = f.RootHash
	}
	return d
}

// manifest pushes that of all files. The same files have the same manifest: its
// time is that of the newest.
func (p Push) manifest(ctx context.Context, repo *remote.Repository) (ocispec.Descriptor, error) {
	var layers []ocispec.Descriptor
	var newest time.Time
	for _, f := range p.Files {
		layers = append(layers, descriptor(f))
		if f.Changed.After(newest) {
			newest = f.Changed
		}
	}
	return oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, oci.ArtifactType, oras.PackManifestOptions{
		Layers:              layers,
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: newest.UTC().Format(time.RFC3339)},
	})
}

// index pushes the index that a tag names with this manifest in it, in the
// place of the platform's former one. A tag of one platform alone is replaced.
func (p Push) index(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, tag string) (ocispec.Descriptor, error) {
	platform, err := parsePlatform(p.Platform)
	if err != nil {
		return desc, err
	}
	old, err := indexOf(ctx, repo, tag)
	if err != nil {
		return desc, err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: oci.ArtifactType}
	for _, m := range old.Manifests {
		if m.Platform == nil || m.Platform.OS != platform.OS || m.Platform.Architecture != platform.Architecture || m.Platform.Variant != platform.Variant {
			index.Manifests = append(index.Manifests, m)
		}
	}
	// Without an artifactType here: skopeo 1.9 would lose it, and so refuses.
	desc.Platform, desc.ArtifactType, desc.Annotations = &platform, "", nil
	index.Manifests = append(index.Manifests, desc)
	slices.SortStableFunc(index.Manifests, func(a, b ocispec.Descriptor) int { return strings.Compare(nameOf(a.Platform), nameOf(b.Platform)) })
	text, err := json.Marshal(index)
	if err != nil {
		return desc, err
	}
	return oras.PushBytes(ctx, repo, index.MediaType, text)
}

// indexOf is the index that a tag names now, empty where it names none.
func indexOf(ctx context.Context, repo *remote.Repository, tag string) (ocispec.Index, error) {
	var index ocispec.Index
	desc, body, err := repo.Manifests().FetchReference(ctx, tag)
	if errors.Is(err, errdef.ErrNotFound) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	defer body.Close()
	if desc.MediaType != ocispec.MediaTypeImageIndex {
		return index, nil
	}
	text, err := io.ReadAll(io.LimitReader(body, oci.Most))
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(text, &index)
}

func nameOf(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// parsePlatform reads OS/ARCHITECTURE[/VARIANT].
func parsePlatform(s string) (ocispec.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return ocispec.Platform{}, fmt.Errorf("the platform %q is not of the form linux/amd64 or linux/arm64/v8", s)
	}
	return ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: strings.Join(parts[2:], "")}, nil
}
