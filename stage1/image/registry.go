package image

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

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

// artifactIsPinned tells whether a reference has a digest, which vouches for all
// that is in the artifact.
func artifactIsPinned(l ref.Location) bool { return l.Artifact().Digest != "" }

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
