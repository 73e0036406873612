package image

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"netstage/fetch"
	"netstage/fetch/ref"
	fetchstream "netstage/fetch/stream"
	"netstage/fetch/vouch"
	"netstage/mount"
	"netstage/netup"
	"netstage/stage1/config"
	"netstage/stage1/stream"
)

// A Streamer has an image brought while it is used.
type Streamer struct {
	Log     *slog.Logger
	Config  config.Config
	Initrd  string // as in Getter
	Drivers interface {
		Load(ctx context.Context, modules ...string) error
	}
	Network *netup.Network
	Stream  *stream.Stream // the one that was started, or nil
}

// log is as in Getter.
func (s *Streamer) log() *slog.Logger { return s.Log.With("what", "image") }

// Start is a Getter's Stream. Nil without an error means that the image has to
// be fetched whole.
func (s *Streamer) Start(ctx context.Context, v vouch.Streamed) (*vouch.Streaming, error) {
	stream.EndOthers()
	modules := []string{"loop", "dm_mod", "nbd"}
	if s.Config.MountVerity {
		modules = append(modules, "dm_verity")
	}
	if err := s.Drivers.Load(ctx, modules...); err != nil {
		return nil, err
	}
	ranges, err := s.hasRanges(ctx, v.Request)
	if err != nil || !ranges {
		return nil, err
	}
	ca, err := ReadAuthorities(s.Config.CA, filepath.Join(s.Initrd, config.OwnCA))
	if err != nil {
		return nil, err
	}
	logins, err := ReadCredentials(s.Initrd)
	if err != nil {
		return nil, err
	}
	token, err := ReportToken(s.Config.ReportTo, s.Initrd)
	if err != nil { // which the first report tells, too
		s.Log.Warn("report", "err", err)
	}
	clientID, err := hex.DecodeString(s.Network.Networkd().ClientID)
	if err != nil {
		return nil, err
	}
	super := v.Checked.Superblock()
	o := stream.Order{
		Dir: Dir, Request: v.Request, Proxy: s.Config.Proxy, CA: ca, Lease: s.Network.Lease(), ClientID: clientID,
		Size: v.Request.Size, Block: super.DataBlockSize, RootHash: v.RootHash, SHA256: v.SHA256, Tree: v.Tree,
		OnDemand: s.Config.OnDemand, Keep: s.Config.StreamKeep, Timeout: s.Config.StreamTimeout, ReportTo: s.Config.ReportTo, ReportToken: token, Log: s.Log,
		Seeded: v.Seeded && !s.Config.OnDemand,
	}
	if len(v.Artifacts) > 0 {
		o.Artifacts, o.Logins = v.Artifacts, logins
	}
	if len(v.Hot) > 0 {
		o.Hot = s.hotList(ctx, v.Request, v.Hot)
	}
	if s.Config.MountVerity {
		o.Verity = &mount.Verity{
			RootHash: v.RootHash, Salt: super.Salt, DataBlockSize: super.DataBlockSize, HashBlockSize: super.HashBlockSize,
			DataBlocks: super.DataBlocks, UUID: super.UUID, OnCorruption: s.Config.OnCorruption,
		}
	}
	if s.Stream, err = stream.Start(o); err != nil {
		s.Stream = nil
		return nil, err
	}
	s.log().Info(fmt.Sprintf("%d MiB are used while they come", o.Size>>20))
	live := &vouch.Streaming{File: s.Stream.Device, Ready: s.ready, End: s.Stream.Abort}
	if o.Seeded {
		live.Store = &fetchstream.Store{File: s.Stream.Image, Tree: v.Checked, Map: s.Stream.Map()}
	}
	return live, nil
}

// ready has the rest come, once seeds have given what they have, and waits for
// it where the boot is a check.
func (s *Streamer) ready(ctx context.Context) error {
	s.Stream.Filled()
	if s.Config.Check && !s.Config.OnDemand {
		return s.Stream.Wait(ctx)
	}
	return nil
}

// hotLimit bounds the search for a hot list, which is advice and nothing more.
const hotLimit = 3 * time.Second

// hotList is what a boot is known to read first, as IMAGE.hot beside the image
// has it, or the artifact that it is in; nothing where there is none.
func (s *Streamer) hotList(ctx context.Context, r fetch.Request, places []ref.Location) []fetchstream.Span {
	ctx, cancel := context.WithTimeout(ctx, hotLimit)
	defer cancel()
	size := r.Size
	r.Mirrors, r.What, r.Size, r.Verify, r.SHA256, r.Digest, r.Checked, r.Progress = places, "hot list", 0, nil, nil, false, true, nil
	r.Log = slog.New(slog.DiscardHandler)
	const most = 1 << 20
	blob, err := fetch.GetBlob(ctx, r, most)
	if err != nil {
		return nil
	}
	defer blob.Close()
	spans, err := fetchstream.ParseHot(blob.Bytes, size)
	if err != nil {
		s.log().Warn(err.Error(), "err", err)
		return nil
	}
	s.log().Info(fmt.Sprintf("a list of %d ranges says what comes first", len(spans)))
	return spans
}

// hasRanges tells whether any mirror can be asked for a part of the image.
func (s *Streamer) hasRanges(ctx context.Context, r fetch.Request) (bool, error) {
	ranges, err := fetch.NewRanges(r)
	if err != nil {
		return false, err
	}
	defer ranges.Close()
	served, err := ranges.Served(ctx)
	if err == nil && !served {
		s.log().Warn("no server can be asked for a part of it: it is fetched whole before it is used")
	}
	return served, err
}
