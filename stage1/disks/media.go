package disks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

// MediaDir is where disks with an image are mounted, read-only. An image that
// is read in place keeps its disk mounted there in stage 2.
const MediaDir = "/run/netstage/media"

// Media are disks that are mounted for the image on them.
type Media struct {
	*Disks
	Link   bool     // /dev/root is to lead to the disk, as stage-1-init.sh has it
	Wanted []string // disks that are mounted elsewhere, and may be checked now

	mounted map[string]string // where, by what was asked for
}

// Path waits for a reference's disk, mounts it and returns the file's path;
// without a file in the reference, the disk's node.
func (m *Media) Path(ctx context.Context, l ref.Location) (string, error) {
	if m.mounted == nil {
		m.mounted = map[string]string{}
	}
	disk := l.Tag + "=" + l.Value
	if dir, ok := m.mounted[disk]; ok {
		return dir + l.Path, nil
	}
	var dir string
	var err error
	if l.Tag == config.ISOTag {
		dir, err = m.findISO(ctx, l.Value)
	} else {
		dir, err = m.open(ctx, l)
	}
	if err != nil {
		return "", err
	}
	m.mounted[disk] = dir
	return dir + l.Path, nil
}

func (m *Media) open(ctx context.Context, l ref.Location) (string, error) {
	name, err := config.DiskOf(l)
	if err != nil {
		return "", err
	}
	disks := m.look()
	device, err := m.await(ctx, disks, name.String(), "the image", patience)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", l.Raw, err)
	}
	m.log().Info(fmt.Sprintf("%s is on %s", l.Raw, device))
	m.link(device.Path)
	if l.Path == "" {
		return device.Path, nil
	}
	return m.mount(ctx, disks, device)
}

// link makes the link that stage-1-init.sh makes of root=.
func (m *Media) link(path string) {
	if !m.Link {
		return
	}
	os.Remove("/dev/root")
	if err := os.Symlink(path, "/dev/root"); err != nil {
		m.log().Warn(err.Error())
	}
}

// mount mounts a disk read-only and returns where.
func (m *Media) mount(ctx context.Context, disks *block.Devices, device block.Device) (string, error) {
	if err := device.Usable(); err != nil {
		return "", err
	}
	if device.Type == "" {
		return "", fault.Errorf(fault.NoImage, "%s holds no file system that is known here", device.Path)
	}
	kind := block.KindOf(device.Type)
	if err := errors.Join(m.loadFileSystem(ctx, kind.Driver), disks.Assemble(device)); err != nil {
		return "", err
	}
	dir := filepath.Join(MediaDir, strings.ReplaceAll(strings.TrimPrefix(device.Path, "/dev/"), "/", "-"))
	return dir, mount.Mount{Type: kind.Driver, Source: device.Path, Target: dir, Options: strings.TrimSuffix("ro,nosuid,nodev,noexec,"+kind.NoPanic, ","), Try: kind.LookOnly}.Do()
}

// findISO looks for the file on all disks, also on those that appear yet, and
// mounts the ISO image in it.
func (m *Media) findISO(ctx context.Context, file string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no disk has it after %v", patience))
	defer cancel()
	changed, stop := m.events()
	defer stop()
	defer m.SayWhile("looking for a disk with the file " + file)()
	disks, looked := m.look(), map[string]bool{}
	var tried []string
	for {
		for _, device := range disks.List() {
			if looked[device.Path] || device.Type == "" || device.Usable() != nil || m.wants(device) {
				continue
			}
			looked[device.Path] = true
			dir, err := m.isoOn(ctx, disks, device, file)
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
func (m *Media) wants(device block.Device) bool {
	return slices.ContainsFunc(m.Wanted, func(text string) bool {
		name, err := block.ParseName(text)
		return err == nil && name.Means(device)
	})
}

// isoOn mounts a disk, and the ISO image in the file on it.
func (m *Media) isoOn(ctx context.Context, disks *block.Devices, device block.Device, file string) (string, error) {
	dir, err := m.mount(ctx, disks, device)
	if err != nil {
		return "", err
	}
	iso := mount.Entry{Device: dir + file, Target: "/iso", Type: "iso9660", Options: []string{"nosuid", "nodev", "noexec"}}
	if _, err = os.Stat(iso.Device); err == nil {
		if err = m.loadFileSystem(ctx, iso.Type); err == nil {
			err = iso.DoFile(MediaDir)
		}
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the file is not there")
		}
		return "", errors.Join(err, mount.Discard(dir))
	}
	m.log().Info(fmt.Sprintf("found %s on %s", file, device))
	m.link(iso.Device)
	return filepath.Join(MediaDir, "iso"), nil
}

// Close takes down the disks.
func (m *Media) Close() error {
	m.mounted = nil
	return DropMedia()
}

// DropMedia takes down what any earlier try mounted.
func DropMedia() error {
	var errs []error
	dirs, err := os.ReadDir(MediaDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, dir := range dirs {
		errs = append(errs, mount.Discard(filepath.Join(MediaDir, dir.Name())))
	}
	return errors.Join(errs...)
}

// log is about the image, whatever else the disk has.
func (m *Media) log() *slog.Logger { return m.Log.With("what", "image") }
