package stage1

import (
	"context"
	"fmt"
	"time"

	"netstage/mount"
	"netstage/nix"
	"netstage/stage1/disks"
)

// mountRoot mounts the image and the file systems that are needed besides.
func (b *Boot) mountRoot(ctx context.Context) error {
	if err := mount.TakeDown(newRoot, layersDir); err != nil { // a retry
		return err
	}
	// Nothing ends the reading of a disk that does not answer but the end of
	// this process.
	limit := imageLimit
	if b.config.Persistence != "" {
		limit = disks.MountPatience
	}
	hung := time.AfterFunc(limit, func() { panic(fmt.Sprintf("the image was not mounted within %v", limit)) })
	said := b.disks().SayWhile(fmt.Sprintf("mounting the image, at most %v", limit))
	err := b.mountImage(ctx)
	hung.Stop()
	said()
	if err != nil {
		b.badImage = true
		return err
	}
	seen, err := b.witness()
	if err != nil {
		return err
	}
	before, inside := b.prepared.AroundEtc()
	if err := b.disks().Mount(ctx, before); err != nil {
		return err
	}
	if err := b.mountEtc(ctx); err != nil { // as late as it can be
		return err
	}
	if err := b.disks().Mount(ctx, inside); err != nil {
		return err
	}
	if err := seen.Check(); err != nil {
		return err
	}
	if err := b.prepareNixOS(); err != nil {
		return err
	}
	return b.handIn()
}

// witness looks at what of the image is to be started, before a disk is mounted.
func (b *Boot) witness() (*mount.Witness, error) {
	places := []string{"/", b.system.Init}
	for _, place := range []string{b.system.Prepare, b.system.Toplevel} {
		if place != "" {
			places = append(places, place)
		}
	}
	if b.image.Report.Layout == string(nix.StoreImage) {
		places = append(places, "/nix/store", "/nix/.ro-store")
	}
	return mount.NewWitness(newRoot, places...)
}

// imageLimit is how long the mount of the image may take; of a disk in the place
// of its tmpfs, as long as of any other.
const imageLimit = 150 * time.Second

// mountImage mounts the image the way it wants to be mounted, and proves that
// the init inside can be executed.
func (b *Boot) mountImage(ctx context.Context) error {
	kind, err := mount.TypeOf(b.image.File)
	if err != nil {
		return err
	}
	if err := b.devices.Load(ctx, kind); err != nil {
		return err
	}
	tree, err := b.openImage()
	if err != nil {
		return err
	}
	defer tree.Close()
	layout, err := nix.LayoutOf(tree.Path(), b.config.Init)
	if err != nil {
		return err
	}
	if layout == nix.StoreImage {
		err = mount.NixStore(newRoot, b.prepared.Written, tree)
	} else {
		err = mount.WholeRoot(newRoot, layersDir, b.prepared.Written, tree)
	}
	if err != nil {
		return err
	}
	b.image.Report.Layout = string(layout)
	if b.system, err = nix.Inspect(newRoot, b.config.Init); err != nil {
		return err
	}
	b.Log.Info(fmt.Sprintf("%s image at %s, init %s (%s)", layout, newRoot, b.system.Init, b.system.Kind))
	return nil
}

// openImage mounts the image, through dm-verity where that is asked for.
func (b *Boot) openImage() (*mount.Tree, error) {
	if b.image.Tree == nil {
		return mount.OpenImage(b.image.File)
	}
	tree := b.image.Tree
	b.image.Report.DMVerity = true
	b.Log.Info("image: every block is verified again when it is read (dm-verity)")
	return mount.OpenVerityImage(b.image.File, mount.Verity{
		Tree: tree.File, RootHash: tree.RootHash, Salt: tree.Salt, DataBlockSize: tree.DataBlockSize,
		HashBlockSize: tree.HashBlockSize, DataBlocks: tree.DataBlocks, UUID: tree.UUID, OnCorruption: b.config.OnCorruption,
	})
}
