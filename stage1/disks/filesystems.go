package disks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"netstage/mount"
	"netstage/mount/block"
	"netstage/mount/fsck"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// CheckLimit is how long the check of one file system may take. One of many
// terabytes, after a power cut and without a journal, takes hours.
const CheckLimit = 6 * time.Hour

// checkers are the folders where the programs for that are looked for.
var checkers = []string{"/sbin", "/bin", "/usr/sbin", "/usr/bin"}

// Prepared are file systems that are ready to be mounted.
type Prepared struct {
	Written mount.Mount   // what is under the new root: it persists, or not
	Limit   time.Duration // of the mount of a Written that persists
	entries []prepared    // to be mounted below it, in order
}

// prepared is a file system that is ready to be mounted.
type prepared struct {
	mount.Entry
	device string // its node, where it has one
}

// AroundEtc splits file systems: those that are mounted before /etc is, and
// those that are mounted in it.
func (p Prepared) AroundEtc() (before, inside Prepared) {
	inEtc := func(p prepared) bool { return p.Target != "/etc" && mount.Inside(p.Target, "/etc") }
	before.entries = slices.DeleteFunc(slices.Clone(p.entries), inEtc)
	inside.entries = slices.DeleteFunc(slices.Clone(p.entries), func(p prepared) bool { return !inEtc(p) })
	return before, inside
}

// Prepare loads what mounting takes, and waits for the disks that c names and
// has them checked.
func (d *Disks) Prepare(ctx context.Context, c config.Config) (Prepared, error) {
	limited, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("file system drivers: not loaded within two minutes"))
	defer cancel()
	modules := []string{"loop", "overlay", "squashfs"}
	if c.MountVerity {
		modules = append(modules, "dm_verity")
	}
	p := Prepared{Written: mount.Volatile}
	if err := d.Drivers.Load(limited, modules...); err != nil {
		return p, err
	}
	disks, started := d.look(), time.Now()
	if c.Persistence != "" {
		if err := c.MayPersist(); err != nil {
			return p, err
		}
		e := mount.Entry{Device: c.Persistence, Target: "/", Type: "auto", Options: strings.Split(c.PersistenceOpt, ","), Check: true}
		ready, err := d.prepare(ctx, disks, e, e.Patience(patience))
		if err != nil {
			return p, err
		}
		p.Written, p.Limit = ready.Mount(config.NewRoot, ready.device), e.MountPatience(mountPatience(e))
	}
	for _, e := range c.FileSystems {
		if e.Has("noauto") || e.Type == "swap" {
			continue
		}
		otherwise := patience
		if e.Has("nofail") {
			otherwise = shortPatience
		}
		// They are waited for at the same time.
		limit := max(e.Patience(otherwise)-time.Since(started).Truncate(time.Second), time.Second)
		ready, err := d.prepare(ctx, disks, e, limit)
		if err := d.excuse(e, err); err != nil {
			return p, err
		}
		if err == nil {
			p.entries = append(p.entries, ready)
		}
	}
	return p, nil
}

// excuse passes over the failure of what may fail.
func (d *Disks) excuse(e mount.Entry, err error) error {
	if err == nil || !e.Has("nofail") || fault.ClassOf(err) == fault.FsckReboot {
		return err
	}
	d.log().Warn(fmt.Sprintf("%s is not mounted: %s", e.Target, fault.ClassOf(err)), "class", fault.ClassOf(err), "err", err)
	return nil
}

// prepare waits for what e mounts and checks it.
func (d *Disks) prepare(ctx context.Context, disks *block.Devices, e mount.Entry, limit time.Duration) (prepared, error) {
	kind, name := e.Source(config.NewRoot)
	if kind != mount.OnDevice {
		return prepared{Entry: e}, d.loadFileSystem(ctx, e.Type)
	}
	device, err := d.await(ctx, disks, name, e.Target, limit)
	if err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	d.log().Info(fmt.Sprintf("%s for %s", device, e.Target))
	if err := device.Usable(); err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	if e.Type == "auto" {
		if e.Type = block.KindOf(device.Type).Driver; e.Type == "" {
			return prepared{}, fmt.Errorf("%s: %w", e.Target, fault.Errorf(fault.Mount, "%s holds no file system that is known here", device.Path))
		}
	}
	if err := d.loadFileSystem(ctx, e.Type); err != nil {
		return prepared{}, err
	}
	if err := disks.Assemble(device); err != nil {
		return prepared{}, fmt.Errorf("%s: %w", e.Target, err)
	}
	return prepared{e, device.Path}, d.check(ctx, e, device)
}

// loadFileSystem loads a file system's driver, which may be built in.
func (d *Disks) loadFileSystem(ctx context.Context, kind string) error {
	if kind == "none" {
		return nil
	}
	return d.Drivers.Load(ctx, "fs-"+kind)
}

// check has a file system checked where that is wanted and can be done.
func (d *Disks) check(ctx context.Context, e mount.Entry, device block.Device) error {
	program, wanted := fsck.Program(e.Type, checkers...)
	if !e.Check || !wanted {
		return nil
	}
	if program == "" {
		d.log().Info(fmt.Sprintf("%s is not checked: the initrd has no fsck.%s", e.Target, e.Type))
		return nil
	}
	if used, err := mount.InUse(device.Path); used || err != nil {
		if err == nil {
			d.log().Info(fmt.Sprintf("%s is not checked: %s is in use", e.Target, device.Path))
		}
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, CheckLimit, fmt.Errorf("not done within %v", CheckLimit))
	defer cancel()
	defer d.SayWhile(fmt.Sprintf("checking %s (%s) for %s", device.Path, e.Type, e.Target))()
	corrected, err := fsck.Run(ctx, program, device.Path, mountPatience(e), func(line string) { d.Log.With("what", "fsck").Info(line) })
	if corrected {
		d.log().Warn(fmt.Sprintf("the errors of %s for %s were corrected", device.Path, e.Target))
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
// that. A check may do nothing for as long.
const (
	longMountPatience  = 30 * time.Minute
	shortMountPatience = 90 * time.Second // systemd's
)

func mountPatience(e mount.Entry) time.Duration {
	if e.Has("nofail") {
		return shortMountPatience
	}
	return longMountPatience
}

// mountEntry mounts one file system, and says that it waits.
func (d *Disks) mountEntry(ctx context.Context, e prepared) error {
	limit := e.MountPatience(mountPatience(e.Entry))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not mounted within %v: the disk does not answer, or has much to mend", limit))
	defer cancel()
	defer d.SayWhile(fmt.Sprintf("mounting %s (%s), at most %v", e.Target, e.Type, limit))()
	return e.Do(ctx, config.NewRoot, e.device)
}

// Mount mounts what was prepared, in order.
func (d *Disks) Mount(ctx context.Context, p Prepared) error {
	for _, e := range p.entries {
		err := d.mountEntry(ctx, e)
		for try := 1; err != nil && e.Network() && try < networkTries && ctx.Err() == nil; try++ {
			d.log().Warn(fmt.Sprintf("%s: %v; trying again", e.Target, err))
			select {
			case <-time.After(betweenTries):
			case <-ctx.Done():
			}
			err = d.mountEntry(ctx, e)
		}
		if err := d.excuse(e.Entry, err); err != nil {
			return err
		}
		if err == nil {
			d.log().Info(fmt.Sprintf("%s mounted (%s)", e.Target, e.Type))
		}
	}
	return nil
}
