package stage1

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"netstage/mount"
	"netstage/netup/clock"
	"netstage/stage1/config"
	"netstage/stage1/disks"
	"netstage/stage1/image"
	"netstage/stage1/network"
	"netstage/stage1/stream"
)

// A held image is the one that the boot has, or none.
type held struct {
	*image.Image
	stream *stream.Stream // nil: the image is there whole
	stale  bool           // it could not be mounted, or somebody wants it anew; another one may be there
}

// drop forgets what an earlier try left.
func (h *held) drop(log *slog.Logger) error {
	if h.stream != nil {
		if err := errors.Join(mount.Discard(config.NewRoot), h.stream.Abort()); err != nil {
			log.Warn("image", "err", err)
		}
		h.stream, h.Image = nil, nil
	}
	if h.Image != nil {
		_ = h.Image.Close() // it was read
		h.Image = nil
	}
	return errors.Join(mount.Discard(image.Dir), disks.DropMedia())
}

// getImage finds the image in the initrd or fetches it.
func (b *Boot) getImage(ctx context.Context) (err error) {
	if b.image.Image != nil && !b.image.stale {
		b.Log.Info("image: it is there already; what failed was something else")
		return nil
	}
	if b.config.Policy.RequireMemory && len(b.config.Manifest) > 0 {
		if err := b.machine.Remembers(); err != nil {
			return err
		}
	}
	b.image.stale, b.record.Image = false, nil
	if err := b.image.drop(b.Log); err != nil { // a retry
		return err
	}
	streamer := &image.Streamer{Log: b.Log, Config: b.config, Initrd: initramfs, Drivers: &b.devices, Network: b.network.Network}
	b.record.Downloading()
	got, err := b.getter(streamer).Get(ctx)
	b.record.Downloaded(err)
	b.image.stream = streamer.Stream
	b.Status("")
	if err != nil {
		return err
	}
	if b.image.stream != nil && got.Tree != nil { // it is part of the stream's device
		_ = got.Tree.File.Close() // it was read
		got.Tree, got.Report.DMVerity = nil, true
	}
	b.image.Image, b.record.Image = got, &got.Report
	if got.Init != "" {
		b.config.Init = got.Init
	}
	b.measureImage(got)
	return nil
}

// getter gets the image from the initrd, a disk or the network, as far as it is
// up.
func (b *Boot) getter(s *image.Streamer) *image.Getter {
	c := b.config
	wanted := []string{c.Persistence}
	for _, e := range c.FileSystems {
		wanted = append(wanted, e.Device)
	}
	g := &image.Getter{
		Log: b.Log, Config: c, Initrd: initramfs, Agent: "netstage/" + b.Version,
		Media:    &disks.Media{Disks: b.disks(), Link: c.Root != "" || c.FindISO != "", Wanted: wanted},
		Cache:    &disks.Media{Disks: b.disks()},
		Progress: b.record.Progress(b.Status, b.heart.Sign),
	}
	g.Highest = b.machine.Highest
	g.Valid = func(name string, created, notBefore, notAfter time.Time) error {
		return b.clock.valid(clock.System(), b.Log, name, created, notBefore, notAfter)
	}
	if up := b.network.Network; up != nil {
		lease := up.Lease()
		g.Network = &image.Network{MAC: lease.MAC, Cache: lease.Cache, Base: network.Base(c, lease), Dial: up.DialContext}
		g.Clock = func(ctx context.Context) { b.clock.set(ctx, b.Log, b.Built, up) }
		g.Stream = s.Start
	}
	return g
}
