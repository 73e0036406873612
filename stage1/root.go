package stage1

import (
	"context"

	"netstage/stage1/root"
)

// mountRoot mounts the image and the file systems that are needed besides.
func (b *Boot) mountRoot(ctx context.Context) (err error) {
	if err := root.TakeDown(); err != nil { // a retry
		return err
	}
	s := root.Step{Log: b.Log, Config: b.config, Drivers: &b.devices, Disks: b.disks(), Initrd: initramfs}
	if b.system, err = s.MountImage(ctx, b.image.Image, b.prepared); err != nil {
		b.image.stale = true
		return err
	}
	return s.Complete(ctx, b.image.Image, b.system, b.prepared)
}
