package config

import (
	"os"
	"path/filepath"
	"slices"

	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/mount/block"
)

// NeedsNetwork tells whether anything has to come over the network.
func (c Config) NeedsNetwork() bool {
	return c.WantNetwork && c.KeepNetwork || len(c.Remote()) > 0
}

// HasDisk tells whether rootfs= names a place on this machine beside servers.
func (c Config) HasDisk() bool {
	remote, here := false, false
	for _, l := range c.Rootfs {
		remote, here = remote || l.Remote(), here || !l.Remote()
	}
	return remote && here
}

// MayBeOffline tells whether the image of an earlier boot may be used where no
// server brings one.
func (c Config) MayBeOffline() bool {
	return c.CacheDisk.Kind == ref.Device && c.Policy.LastGood && len(c.Remote()) > 0
}

// fromRegistry tells whether the image may be in a registry, where its artifact
// says what it is.
func (c Config) fromRegistry() bool {
	return slices.ContainsFunc(c.Rootfs, func(l ref.Location) bool { return l.Kind == ref.OCI })
}

// Remote are the references that need the network.
func (c Config) Remote() []ref.Location {
	var remote []ref.Location
	for _, refs := range [][]ref.Location{c.Rootfs, c.Verity, c.Manifest, c.KeyLists, c.named()} {
		for _, l := range refs {
			if l.Remote() {
				remote = append(remote, l)
			}
		}
	}
	return remote
}

// named are the URLs in a manifest of the initrd, when it is that which names
// the image. Whether they may be followed, its signature tells later.
func (c Config) named() []ref.Location {
	if len(c.Rootfs) > 0 || len(c.Manifest) == 0 || c.Manifest[0].Kind != ref.File {
		return nil
	}
	text, err := manifest.ReadFile(c.Manifest[0].Path, manifest.Most)
	if err != nil {
		return nil
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil
	}
	l, err := ref.Parse(m.Images[0].Path)
	if err != nil || l.Kind != ref.URL && l.Kind != ref.OCI {
		return nil
	}
	return []ref.Location{l}
}

// Images are the references to the image: a manifest names it where nothing
// else does, and else the initrd, whose files are below root, may hold it.
func (c Config) Images(root string) []ref.Location {
	if len(c.Rootfs) == 0 && len(c.Manifest) == 0 {
		if _, err := os.Stat(filepath.Join(root, LocalImage)); err == nil {
			return []ref.Location{ref.FileAt(LocalImage)}
		}
		return c.mediumRefs()
	}
	return c.Rootfs
}

// mediumRefs are where the image is when rootfs= does not say: on an ISO image
// or the disk of root=, under the name it has on NixOS's.
func (c Config) mediumRefs() []ref.Location {
	switch {
	case c.FindISO != "":
		return []ref.Location{{Kind: ref.Device, Raw: "findiso=" + c.FindISO, Tag: ISOTag, Value: c.FindISO, Path: LocalImage}}
	case c.Root != "":
		return []ref.Location{{Kind: ref.Device, Raw: "root=" + c.Root, Tag: "DEV", Value: c.Root, Path: LocalImage}}
	}
	return nil
}

// ISOTag marks a reference to a file in an ISO image, which is a file on any
// disk.
const ISOTag = "ISO"

// DiskOf is the disk that a reference is about.
func DiskOf(l ref.Location) (block.Name, error) {
	text := l.Tag + "=" + l.Value
	if l.Tag == "DEV" {
		text = l.Value
	}
	return block.ParseName(text)
}
