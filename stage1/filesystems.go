package stage1

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"netstage/mount"
	"netstage/mount/block"
	"netstage/mount/fsck"
	"netstage/stage1/fault"
)

// checkLimit is how long the check of one file system may take. One of many
// terabytes, after a power cut and without a journal, takes hours.
const checkLimit = 6 * time.Hour

// checkers are the folders where the programs for that are looked for.
var checkers = []string{"/sbin", "/bin", "/usr/sbin", "/usr/bin"}

// prepared is a file system that is ready to be mounted.
type prepared struct {
	mount.Entry
	device string // its node, where it has one
}

// prepareFileSystems loads what mounting takes, and waits for the disks that
// are mounted and has them checked.
func (b *Boot) prepareFileSystems(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("file system drivers: not loaded within two minutes"))
	defer cancel()
	if err := b.loadFileSystems(limited); err != nil {
		return err
	}
	b.written, b.fileSystems = mount.Volatile, nil
	disks, started := b.lookForDisks(), time.Now()
	if b.config.Persistence != "" {
		if err := b.config.MayPersist("/"); err != nil {
			return err
		}
		e := mount.Entry{Device: b.config.Persistence, Target: "/", Type: "auto", Options: strings.Split(b.config.PersistenceOpt, ","), Check: true}
		ready, err := b.prepare(ctx, disks, e, patience)
		if err != nil {
			return err
		}
		b.written = ready.Mount(newRoot, ready.device)
	}
	for _, e := range b.config.FileSystems {
		if e.Has("noauto") || e.Type == "swap" {
			continue
		}
		otherwise := patience
		if e.Has("nofail") {
			otherwise = shortPatience
		}
		// They are waited for at the same time.
		limit := max(e.Patience(otherwise)-time.Since(started).Truncate(time.Second), time.Second)
		ready, err := b.prepare(ctx, disks, e, limit)
		if err := b.excuse(e, err); err != nil {
			return err
		}
		if err == nil {
			b.fileSystems = append(b.fileSystems, ready)
		}
	}
	return nil
}

// excuse passes over the failure of what may fail.
func (b *Boot) excuse(e mount.Entry, err error) error {
	if err == nil || !e.Has("nofail") || fault.ClassOf(err) == fault.FsckReboot {
		return err
	}
	b.Log.Warn(fmt.Sprintf("disks: %s is not mounted: %s: %v", e.Target, fault.ClassOf(err), err))
	return nil
}

// prepare waits for what e mounts and checks it.
func (b *Boot) prepare(ctx context.Context, disks *block.Devices, e mount.Entry, limit time.Duration) (prepared, error) {
	kind, name := e.Source(newRoot)
	if kind != mount.OnDevice {
		return prepared{Entry: e}, b.loadFileSystem(ctx, e.Type)
	}
	device, err := b.awaitDisk(ctx, disks, name, e.Target, limit)
	if err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	b.Log.Info(fmt.Sprintf("disks: %s for %s", device, e.Target))
	if err := device.Usable(); err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	if e.Type == "auto" {
		if e.Type = device.Type; e.Type == "" {
			return prepared{}, fmt.Errorf("%s: %w", e.Target, fault.Errorf(fault.Mount, "%s holds no file system that is known here", device.Path))
		}
	}
	if err := b.loadFileSystem(ctx, e.Type); err != nil {
		return prepared{}, err
	}
	if err := disks.Assemble(device); err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	return prepared{e, device.Path}, b.check(ctx, e, device)
}

// loadFileSystem loads a file system's driver, which may be built in.
func (b *Boot) loadFileSystem(ctx context.Context, kind string) error {
	if b.drivers == nil || kind == "none" {
		return nil
	}
	return mayBeBuiltIn(b.drivers.Load(ctx, "fs-"+kind))
}

// check has a file system checked where that is wanted and can be done.
func (b *Boot) check(ctx context.Context, e mount.Entry, device block.Device) error {
	program, wanted := fsck.Program(e.Type, checkers...)
	if !e.Check || !wanted {
		return nil
	}
	if program == "" {
		b.Log.Info(fmt.Sprintf("disks: %s is not checked: the initrd has no fsck.%s", e.Target, e.Type))
		return nil
	}
	if used, err := mount.InUse(device.Path); used || err != nil {
		if err == nil {
			b.Log.Info(fmt.Sprintf("disks: %s is not checked: %s is in use", e.Target, device.Path))
		}
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, checkLimit, fmt.Errorf("not done within %v", checkLimit))
	defer cancel()
	defer b.sayWhile(fmt.Sprintf("checking %s (%s) for %s", device.Path, e.Type, e.Target))()
	corrected, err := fsck.Run(ctx, program, device.Path, func(line string) { b.Log.Info("fsck: " + line) })
	if corrected {
		b.Log.Warn(fmt.Sprintf("disks: the errors of %s for %s were corrected", device.Path, e.Target))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.Target, err)
	}
	return nil
}

// A server may not answer at once after the link came up (nixpkgs: mountFS of
// stage-1-init.sh).
const (
	networkTries = 10
	betweenTries = time.Second
)

// How long a mount may take that says nothing of it: a large journal may be
// replayed, or a file system on many disks be read. What may fail is not worth
// that.
const (
	mountPatience      = 30 * time.Minute
	shortMountPatience = 90 * time.Second // systemd's
)

// mountEntry mounts one file system, and says that it waits.
func (b *Boot) mountEntry(ctx context.Context, e prepared) error {
	otherwise := mountPatience
	if e.Has("nofail") {
		otherwise = shortMountPatience
	}
	limit := e.MountPatience(otherwise)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not mounted within %v: the disk does not answer, or has much to mend", limit))
	defer cancel()
	defer b.sayWhile(fmt.Sprintf("mounting %s (%s), at most %v", e.Target, e.Type, limit))()
	return e.Do(ctx, newRoot, e.device)
}

// mountFileSystems mounts what was prepared, in order, and /etc, if that is to
// be mounted, as late as it can be.
func (b *Boot) mountFileSystems(ctx context.Context) error {
	before, inside := aroundEtc(b.fileSystems)
	if err := b.mountAll(ctx, before); err != nil {
		return err
	}
	if err := b.mountEtc(ctx); err != nil {
		return err
	}
	return b.mountAll(ctx, inside)
}

func (b *Boot) mountAll(ctx context.Context, fileSystems []prepared) error {
	for _, e := range fileSystems {
		err := b.mountEntry(ctx, e)
		for try := 1; err != nil && e.Network() && try < networkTries && ctx.Err() == nil; try++ {
			b.Log.Warn(fmt.Sprintf("disks: %s: %v; trying again", e.Target, err))
			select {
			case <-time.After(betweenTries):
			case <-ctx.Done():
			}
			err = b.mountEntry(ctx, e)
		}
		if err := b.excuse(e.Entry, err); err != nil {
			return err
		}
		if err == nil {
			b.Log.Info(fmt.Sprintf("disks: %s mounted (%s)", e.Target, e.Type))
		}
	}
	return nil
}
