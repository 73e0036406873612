package stage1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netstage/fetch/ref"
	"netstage/mount"
	"netstage/mount/block"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// mediaDir is where disks with an image are mounted, read-only. An image that
// is read in place keeps its disk mounted there in stage 2.
const mediaDir = "/run/netstage/media"

// copiesImage tells whether an image on a disk is copied into memory, and the
// copy verified and used: where something vouches for it, because a disk may give
// other bytes the second time. Where nothing does it is used in place, and also
// where dm-verity verifies what is read, but for an image that is the disk
// itself, which ends after it.
func (b *Boot) copiesImage(signed bool, images []ref.Location) bool {
	c := b.config
	vouched := signed || c.SHA256 != nil || c.RootHash != nil
	whole := len(images) > 0 && strings.HasPrefix(images[0].Path, "/dev/")
	return len(b.media) > 0 && (c.CopyToRAM || vouched && (whole || !c.MountVerity))
}

// onMedium waits for a reference's disk, mounts it and returns the file's path;
// without a file in the reference, the disk's node.
func (b *Boot) onMedium(ctx context.Context, l ref.Location) (string, error) {
	if b.media == nil {
		b.media = map[string]string{}
	}
	disk := l.Tag + "=" + l.Value
	if dir, ok := b.media[disk]; ok {
		return dir + l.Path, nil
	}
	var dir string
	var err error
	if l.Tag == config.ISOTag {
		dir, err = b.findISO(ctx, l.Value)
	} else {
		dir, err = b.openMedium(ctx, l)
	}
	if err != nil {
		return "", err
	}
	b.media[disk] = dir
	return dir + l.Path, nil
}

func (b *Boot) openMedium(ctx context.Context, l ref.Location) (string, error) {
	name, err := config.DiskOf(l)
	if err != nil {
		return "", err
	}
	disks := b.lookForDisks()
	device, err := b.awaitDisk(ctx, disks, name.String(), "the image", patience)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", l.Raw, err)
	}
	b.Log.Info(fmt.Sprintf("image: %s is on %s", l.Raw, device))
	b.linkRoot(device.Path)
	if l.Path == "" {
		return device.Path, nil
	}
	return b.mountMedium(ctx, disks, device)
}

// linkRoot makes the link that stage-1-init.sh makes of root=.
func (b *Boot) linkRoot(path string) {
	if b.config.Root == "" && b.config.FindISO == "" {
		return
	}
	os.Remove("/dev/root")
	if err := os.Symlink(path, "/dev/root"); err != nil {
		b.Log.Warn(fmt.Sprintf("image: %v", err))
	}
}

// mountMedium mounts a disk read-only and returns where.
func (b *Boot) mountMedium(ctx context.Context, disks *block.Devices, device block.Device) (string, error) {
	if err := device.Usable(); err != nil {
		return "", err
	}
	if device.Type == "" {
		return "", fault.Errorf(fault.NoImage, "%s holds no file system that is known here", device.Path)
	}
	if err := errors.Join(b.loadFileSystem(ctx, device.Type), disks.Assemble(device)); err != nil {
		return "", err
	}
	dir := filepath.Join(mediaDir, strings.ReplaceAll(strings.TrimPrefix(device.Path, "/dev/"), "/", "-"))
	return dir, mount.Mount{Type: device.Type, Source: device.Path, Target: dir, Options: "ro,nosuid,nodev,noexec"}.Do()
}

// findISO looks for the file on all disks, also on those that appear yet, and
// mounts the ISO image in it.
func (b *Boot) findISO(ctx context.Context, file string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no disk has it after %v", patience))
	defer cancel()
	changed, stop := b.diskEvents()
	defer stop()
	defer b.sayWhile("looking for a disk with the file " + file)()
	disks, looked := b.lookForDisks(), map[string]bool{}
	var tried []string
	for {
		for _, device := range disks.List() {
			if looked[device.Path] || device.Type == "" || device.Usable() != nil || wants(b.config, device) {
				continue
			}
			looked[device.Path] = true
			dir, err := b.isoOn(ctx, disks, device, file)
			if err == nil {
				return dir, nil
			}
			tried = append(tried, fmt.Sprintf("%s: %v", device, err))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", &fault.Error{Class: fault.NoDevice, Text: fmt.Sprintf("findiso=%s: %v", file, context.Cause(ctx)), Tried: tried}
		}
	}
}

// wants tells whether a device is mounted elsewhere, and may be checked now.
func wants(c config.Config, device block.Device) bool {
	names := []string{c.Persistence}
	for _, e := range c.FileSystems {
		names = append(names, e.Device)
	}
	return slices.ContainsFunc(names, func(text string) bool {
		name, err := block.ParseName(text)
		return err == nil && name.Means(device)
	})
}

// isoOn mounts a disk, and the ISO image in the file on it.
func (b *Boot) isoOn(ctx context.Context, disks *block.Devices, device block.Device, file string) (string, error) {
	dir, err := b.mountMedium(ctx, disks, device)
	if err != nil {
		return "", err
	}
	iso := mount.Entry{Device: dir + file, Target: "/iso", Type: "iso9660", Options: []string{"nosuid", "nodev", "noexec"}}
	if _, err = os.Stat(iso.Device); err == nil {
		if err = b.loadFileSystem(ctx, iso.Type); err == nil {
			err = iso.DoFile(mediaDir)
		}
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the file is not there")
		}
		return "", errors.Join(err, mount.Discard(dir))
	}
	b.Log.Info(fmt.Sprintf("image: found %s on %s", file, device))
	b.linkRoot(iso.Device)
	return filepath.Join(mediaDir, "iso"), nil
}

// dropMedia takes down what an earlier try mounted.
func (b *Boot) dropMedia() error {
	b.media = nil
	var errs []error
	dirs, err := os.ReadDir(mediaDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, dir := range dirs {
		errs = append(errs, mount.Discard(filepath.Join(mediaDir, dir.Name())))
	}
	return errors.Join(errs...)
}

// closeMedia takes down the disks whose image was copied.
func (b *Boot) closeMedia(copied bool) error {
	if !copied {
		return nil
	}
	return b.dropMedia()
}

// describeLocal tells where an image was that no server sent.
func describeLocal(source string, copied bool) string {
	switch {
	case copied:
		return source + " copied into memory"
	case strings.HasPrefix(source, mediaDir), strings.HasPrefix(source, "/dev/"):
		return source + " in place"
	}
	return source + " of the initrd"
}
