package stage1

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netstage/mount"
	"netstage/stage1/disks"
	"netstage/stage1/image"
)

// getImage finds the image in the initrd or fetches it.
func (b *Boot) getImage(ctx context.Context) error {
	if b.image != nil && !b.badImage {
		b.Log.Info("image: it is there already; what failed was something else")
		return nil
	}
	b.badImage = false
	if err := b.dropImage(); err != nil { // a retry
		return err
	}
	b.record.download, b.record.tellAt = Download{}, time.Now().Add(waitingAfter)
	got, err := b.getter().Get(ctx)
	b.endWaiting()
	b.Status("")
	if err != nil {
		b.noteDownload(err)
		return err
	}
	if b.stream != nil && got.Tree != nil { // it is part of the stream's device
		_ = got.Tree.File.Close() // it was read
		got.Tree, got.Report.DMVerity = nil, true
	}
	if b.image = got; got.Init != "" {
		b.config.Init = got.Init
	}
	return nil
}

func (b *Boot) getter() *image.Getter {
	c := b.config
	wanted := []string{c.Persistence}
	for _, e := range c.FileSystems {
		wanted = append(wanted, e.Device)
	}
	media := &disks.Media{Disks: b.disks(), Link: c.Root != "" || c.FindISO != "", Wanted: wanted}
	g := &image.Getter{
		Log: b.Log, Config: c, Initrd: "/", Agent: "netstage/" + b.Version, Media: media, Progress: b.follow(),
	}
	if b.network.Network != nil {
		lease := b.network.Lease()
		g.Network = &image.Network{MAC: lease.MAC, Base: b.base(lease), Dial: b.network.DialContext}
		g.Clock, g.Stream = b.setClock, b.streamImage
	}
	return g
}

// dropImage forgets what an earlier try left.
func (b *Boot) dropImage() error {
	if b.stream != nil {
		if err := errors.Join(mount.Discard(newRoot), b.stream.Abort()); err != nil {
			b.Log.Warn(fmt.Sprintf("image: %v", err))
		}
		b.stream, b.image = nil, nil
	}
	if b.image != nil {
		_ = b.image.Close() // it was read
		b.image = nil
	}
	return errors.Join(mount.Discard(image.Dir), disks.DropMedia())
}
