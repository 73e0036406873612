// Package root is the boot's step of that name: it mounts the image and what is
// mounted with it, and makes of it what stage 2 expects.
package root

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/mount"
	"netstage/nix"
	"netstage/stage1/config"
	"netstage/stage1/disks"
	"netstage/stage1/image"
)

const (
	newRoot = config.NewRoot

	// layersDir holds the two layers of a whole-root image.
	layersDir = "/run/netstage"
)

// TakeDown takes down what an earlier try has mounted.
func TakeDown() error { return mount.TakeDown(newRoot, layersDir) }

// A Step makes the new root.
type Step struct {
	Log     *slog.Logger
	Config  config.Config
	Drivers disks.Drivers
	Disks   *disks.Disks
	Initrd  string // the folder with its files
}

// MountImage mounts the image, within a limit, and says what system is in it.
func (s *Step) MountImage(ctx context.Context, i *image.Image, prepared disks.Prepared) (nix.System, error) {
	// Nothing ends the reading of a disk that does not answer but the end of
	// this process.
	limit := imageLimit
	if s.Config.Persistence != "" {
		limit = prepared.Limit
	}
	hung := time.AfterFunc(limit, func() { panic(fmt.Sprintf("the image was not mounted within %v", limit)) })
	defer hung.Stop()
	defer s.Disks.SayWhile(fmt.Sprintf("mounting the image, at most %v", limit))()
	return s.mountImage(ctx, i, prepared.Written)
}

// Complete mounts the file systems that are needed besides, and prepares the
// system for its start.
func (s *Step) Complete(ctx context.Context, i *image.Image, system nix.System, prepared disks.Prepared) error {
	seen, err := witness(i, system)
	if err != nil {
		return err
	}
	before, inside := prepared.AroundEtc()
	if err := s.Disks.Mount(ctx, before); err != nil {
		return err
	}
	if err := s.mountEtc(ctx, system); err != nil { // as late as it can be
		return err
	}
	if err := s.Disks.Mount(ctx, inside); err != nil {
		return err
	}
	if err := seen.Check(); err != nil {
		return err
	}
	if err := s.prepareNixOS(system); err != nil {
		return err
	}
	return s.handIn()
}

// witness looks at what of the image is to be started, before a disk is
// mounted.
func witness(i *image.Image, system nix.System) (*mount.Witness, error) {
	places := []string{"/", system.Init}
	for _, place := range []string{system.Prepare, system.Toplevel} {
		if place != "" {
			places = append(places, place)
		}
	}
	if i.Report.Layout == string(nix.StoreImage) {
		places = append(places, "/nix/store", "/nix/.ro-store")
	}
	return mount.NewWitness(newRoot, places...)
}

// imageLimit is how long the mount of the image may take; of a disk in the
// place of its tmpfs, as long as of any other.
const imageLimit = 150 * time.Second

// mountImage mounts the image the way it wants to be mounted, and proves that
// the init inside can be executed.
func (s *Step) mountImage(ctx context.Context, i *image.Image, written mount.Mount) (system nix.System, err error) {
	kind, inside, err := mount.TypeOf(i.File)
	if err != nil {
		return system, err
	}
	if inside != "" {
		s.Log.Info(fmt.Sprintf("image: it is an ISO image, the system is in its %s", inside))
	}
	if err := s.Drivers.Load(ctx, kind); err != nil {
		return system, err
	}
	tree, err := s.openImage(i)
	if err != nil {
		return system, err
	}
	defer tree.Close()
	layout, err := nix.LayoutOf(tree.Path(), s.Config.Init)
	if err != nil {
		return system, err
	}
	if layout == nix.StoreImage {
		err = mount.NixStore(newRoot, written, tree)
	} else {
		err = mount.WholeRoot(newRoot, layersDir, written, tree)
	}
	if err != nil {
		return system, err
	}
	i.Report.Layout = string(layout)
	if system, err = nix.Inspect(newRoot, s.Config.Init); err != nil {
		return system, err
	}
	s.Log.Info(fmt.Sprintf("%s image at %s, init %s (%s)", layout, newRoot, system.Init, system.Kind))
	return system, nil
}

// openImage mounts the image, through dm-verity where that is asked for.
func (s *Step) openImage(i *image.Image) (*mount.Tree, error) {
	if i.Tree == nil {
		return mount.OpenImage(i.File)
	}
	tree := i.Tree
	i.Report.DMVerity = true
	s.Log.Info("image: every block is verified again when it is read (dm-verity)")
	return mount.OpenVerityImage(i.File, mount.Verity{
		Tree: tree.File, RootHash: tree.RootHash, Salt: tree.Salt, DataBlockSize: tree.DataBlockSize,
		HashBlockSize: tree.HashBlockSize, DataBlocks: tree.DataBlocks, UUID: tree.UUID, OnCorruption: s.Config.OnCorruption,
	})
}
