package image

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"netstage/fetch/kept"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// inRegistries are the images that are in a registry.
func inRegistries(images []ref.Location) []ref.Location {
	return slices.DeleteFunc(slices.Clone(images), func(l ref.Location) bool { return l.Kind != ref.OCI })
}

// artifactIsPinned tells whether a reference has a digest, which vouches for
// all that is in the artifact.
func artifactIsPinned(l ref.Location) bool { return l.Artifact().Digest != "" }

// applyArtifact has an earlier image be the one of the artifact that c pins, if
// it pins one: what was kept with the image leads there from the digest.
func applyArtifact(c *config.Config, e kept.Record) error {
	i := slices.IndexFunc(c.Rootfs, artifactIsPinned)
	if i < 0 {
		return nil
	}
	system, err := oci.Follow(c.Rootfs[i].Artifact().Digest, e.Artifact, oci.Here())
	if err == nil {
		err = system.NoImage()
	}
	if err != nil {
		return err
	}
	digest, err := hex.DecodeString(system.Image.Digest)
	switch {
	case err != nil:
		return err
	case e.TreeSize > 0 && system.RootHash != nil:
		c.RootHash, err = asPinned("root hash", c.RootHash, system.RootHash)
	default:
		c.SHA256, err = asPinned("SHA-256", c.SHA256, digest)
	}
	return err
}

// asPinned is what an artifact says, and what was asked for, if anything was.
func asPinned(what string, asked, said []byte) ([]byte, error) {
	if asked != nil && !bytes.Equal(asked, said) {
		return nil, fault.Errorf(fault.Policy, "the %s asked for is %x, the artifact's is %x", what, asked, said)
	}
	return said, nil
}

// credentials are the logins for registries that the initrd has. None goes by
// http where a proxy would see it.
func (g *Getter) credentials() (oci.Credentials, error) {
	text, err := ReadCredentials(g.Initrd)
	if err != nil || text == nil {
		return oci.Credentials{}, err
	}
	c, err := oci.ParseCredentials(text)
	if err != nil {
		return c, fault.Errorf(fault.Policy, "%s: %w", config.RegistryFile, err)
	}
	if g.Config.Proxy != "" {
		c = c.Secure()
	}
	return c, nil
}

// ReadCredentials is the text of the file with logins, nil where there is none.
func ReadCredentials(root string) ([]byte, error) {
	text, err := manifest.ReadFile(filepath.Join(root, config.RegistryFile), oci.MostCredentials)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.Errorf(fault.Policy, "logins for registries: %w", err)
	}
	return text, nil
}
