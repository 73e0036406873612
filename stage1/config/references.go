package config

import (
	"os"
	"path/filepath"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/mount/block"
)

// NeedsNetwork tells whether anything has to come over the network.
func (c Config) NeedsNetwork() bool {
	return c.WantNetwork && c.KeepNetwork || len(c.Remote()) > 0
}

// Remote are the references that need the network.
func (c Config) Remote() []fetch.Ref {
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

// Images are the references to the image: a manifest names it where nothing
// else does, and else the initrd, whose files are below root, may hold it.
func (c Config) Images(root string) []fetch.Ref {
	if len(c.Rootfs) == 0 && len(c.Manifest) == 0 {
		if _, err := os.Stat(filepath.Join(root, LocalImage)); err == nil {
			return []fetch.Ref{{Kind: fetch.KindFile, Raw: LocalImage, Path: LocalImage}}
		}
		return c.mediumRefs()
	}
	return c.Rootfs
}

// mediumRefs are where the image is when rootfs= does not say: on an ISO image
// or the disk of root=, under the name it has on NixOS's.
func (c Config) mediumRefs() []fetch.Ref {
	switch {
	case c.FindISO != "":
		return []fetch.Ref{{Kind: fetch.KindDevice, Raw: "findiso=" + c.FindISO, Tag: ISOTag, Value: c.FindISO, Path: LocalImage}}
	case c.Root != "":
		return []fetch.Ref{{Kind: fetch.KindDevice, Raw: "root=" + c.Root, Tag: "DEV", Value: c.Root, Path: LocalImage}}
	}
	return nil
}

// ISOTag marks a reference to a file in an ISO image, which is a file on any
// disk.
const ISOTag = "ISO"

// DiskOf is the disk that a reference is about.
func DiskOf(ref fetch.Ref) (block.Name, error) {
	text := ref.Tag + "=" + ref.Value
	if ref.Tag == "DEV" {
		text = ref.Value
	}
	return block.ParseName(text)
}
