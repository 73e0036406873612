package image

import (
	"path/filepath"
	"syscall"

	"netstage/fetch/ref"
)

// copies tells whether an image on a disk is copied into memory, and the copy
// verified and used: where something vouches for it, because a disk may give
// other bytes the second time. Where nothing does it is used in place, and also
// where dm-verity verifies what is read, but for an image that is the disk
// itself, which ends after it.
func (g *Getter) copies(signed bool, images []ref.Location) bool {
	c := g.Config
	if len(images) == 0 {
		return false
	}
	where := g.placeOf(images[0].Path)
	vouched := signed || c.SHA256 != nil || c.RootHash != nil
	return where != inInitrd && (c.CopyToRAM || vouched && (where == isDisk || !c.MountVerity))
}

// A place is where a local image lies.
type place int

const (
	inInitrd place = iota // or on a server, or nowhere
	onDisk
	isDisk
)

// placeOf looks at what would be opened, however its name is written.
func (g *Getter) placeOf(image string) place {
	var file, initrd syscall.Stat_t
	if !filepath.IsAbs(image) || syscall.Stat(image, &file) != nil || syscall.Stat(g.Initrd, &initrd) != nil {
		return inInitrd
	}
	switch {
	case file.Mode&syscall.S_IFMT == syscall.S_IFBLK:
		return isDisk
	case file.Dev != initrd.Dev:
		return onDisk
	}
	return inInitrd
}

// describe tells where an image was that no server sent.
func (g *Getter) describe(source string, copied bool) string {
	switch {
	case copied:
		return source + " copied into memory"
	case g.placeOf(source) != inInitrd:
		return source + " in place"
	}
	return source + " of the initrd"
}
