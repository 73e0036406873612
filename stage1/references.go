package stage1

import (
	"os"

	"netstage/fetch"
	"netstage/fetch/manifest"
)

// remote are the references that need the network.
func (c Config) remote() []fetch.Ref {
	var remote []fetch.Ref
	for _, refs := range [][]fetch.Ref{c.Rootfs, c.Verity, c.Manifest, c.named()} {
		for _, ref := range refs {
			if ref.Kind == fetch.KindURL || ref.Kind == fetch.KindRelative {
				remote = append(remote, ref)
			}
		}
	}
	return remote
}

// named are the URLs in a manifest of the initrd, when it is that which names
// the image. Whether they may be followed, its signature tells later.
func (c Config) named() []fetch.Ref {
	if len(c.Rootfs) > 0 || len(c.Manifest) == 0 || c.Manifest[0].Kind != fetch.KindFile {
		return nil
	}
	text, err := os.ReadFile(c.Manifest[0].Path)
	if err != nil {
		return nil
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil
	}
	ref, err := fetch.ParseRef(m.Images[0].Path)
	if err != nil || ref.Kind != fetch.KindURL {
		return nil
	}
	return []fetch.Ref{ref}
}
