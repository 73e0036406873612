package stage1

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"netstage/fetch"
	"netstage/fetch/ref"
	fetchstream "netstage/fetch/stream"
	"netstage/fetch/vouch"
	"netstage/mount"
	"netstage/stage1/config"
	"netstage/stage1/image"
	"netstage/stage1/stream"
)

// streamImage has the image brought while it is used. Nil without an error
// means that it has to be fetched whole.
func (b *Boot) streamImage(ctx context.Context, s vouch.Streamed) (*os.File, func() error, error) {
	stream.EndOthers()
	modules := []string{"loop", "dm_mod", "nbd"}
	if b.config.MountVerity {
		modules = append(modules, "dm_verity")
	}
	if err := b.devices.Load(ctx, modules...); err != nil {
		return nil, nil, err
	}
	ranges, err := b.hasRanges(ctx, s.Request)
	if err != nil || !ranges {
		return nil, nil, err
	}
	ca, err := image.ReadAuthorities(b.config.CA, config.OwnCA)
	if err != nil {
		return nil, nil, err
	}
	clientID, err := hex.DecodeString(b.network.Networkd().ClientID)
	if err != nil {
		return nil, nil, err
	}
	super := s.Checked.Superblock()
	o := stream.Order{
		Dir: image.Dir, Request: s.Request, Proxy: b.config.Proxy, CA: ca, Lease: b.network.Lease(), ClientID: clientID,
		Size: s.Request.Size, Block: super.DataBlockSize, RootHash: s.RootHash, SHA256: s.SHA256, Tree: s.Tree,
		OnDemand: b.config.OnDemand, Timeout: b.config.StreamTimeout, Log: b.Log,
	}
	o.Hot = b.hotList(ctx, s.Request)
	if b.config.MountVerity {
		o.Verity = &mount.Verity{
			RootHash: s.RootHash, Salt: super.Salt, DataBlockSize: super.DataBlockSize, HashBlockSize: super.HashBlockSize,
			DataBlocks: super.DataBlocks, UUID: super.UUID, OnCorruption: b.config.OnCorruption,
		}
	}
	if b.stream, err = stream.Start(o); err != nil {
		b.stream = nil
		return nil, nil, err
	}
	b.Log.Info(fmt.Sprintf("image: %d MiB are used while they come", o.Size>>20))
	if b.config.Check {
		if err := b.stream.Wait(ctx); err != nil {
			return nil, nil, err
		}
	}
	return b.stream.Device, b.stream.Abort, nil
}

// hotLimit bounds the search for a hot list, which is advice and nothing more.
const hotLimit = 3 * time.Second

// hotList is what a boot is known to read first, as IMAGE.hot beside the image
// has it; nothing where there is none.
func (b *Boot) hotList(ctx context.Context, r fetch.Request) []fetchstream.Span {
	ctx, cancel := context.WithTimeout(ctx, hotLimit)
	defer cancel()
	var beside []ref.Location
	for _, m := range r.Mirrors {
		beside = append(beside, m.WithSuffix(".hot"))
	}
	size := r.Size
	r.Mirrors, r.What, r.Size, r.Verify, r.SHA256, r.Digest, r.Checked, r.Progress = beside, "hot list", 0, nil, nil, false, true, nil
	r.Log = slog.New(slog.DiscardHandler)
	const most = 1 << 20
	blob, err := fetch.GetBlob(ctx, r, most)
	if err != nil {
		return nil
	}
	defer blob.Close()
	spans, err := fetchstream.ParseHot(blob.Bytes, size)
	if err != nil {
		b.Log.Warn(fmt.Sprintf("image: %v", err))
		return nil
	}
	b.Log.Info(fmt.Sprintf("image: a list of %d ranges says what comes first", len(spans)))
	return spans
}

// hasRanges tells whether any mirror can be asked for a part of the image.
// Like a download it goes on until it knows.
func (b *Boot) hasRanges(ctx context.Context, r fetch.Request) (bool, error) {
	ranges, err := fetch.NewRanges(r)
	if err != nil {
		return false, err
	}
	defer ranges.Close()
	for wait := time.Second; ; wait = min(2*wait, 8*time.Second) {
		var last error
		without := 0
		for m := range ranges.Mirrors() {
			body, err := ranges.Get(ctx, m, 0, 4095)
			if err == nil {
				return true, body.Close()
			}
			last = err
			if errors.Is(err, fetch.ErrNoRanges) {
				without++
			}
		}
		if without == ranges.Mirrors() {
			b.Log.Warn("image: no server can be asked for a part of it: it is fetched whole before it is used")
			return false, nil
		}
		var failed *fetch.Error
		if errors.As(last, &failed) && failed.Permanent() && without+1 >= ranges.Mirrors() {
			return false, last
		}
		b.Log.Warn(fmt.Sprintf("image: %v", last))
		select {
		case <-ctx.Done():
			return false, errors.Join(context.Cause(ctx), last)
		case <-time.After(wait):
		}
	}
}

// handOverStream leaves the stream to stage 2; that of boot.check has ended.
func (b *Boot) handOverStream() error {
	if b.stream == nil || b.config.Check {
		return nil
	}
	return b.stream.HandOver()
}
