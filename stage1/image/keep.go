package image

import (
	"encoding/hex"
	"time"

	"netstage/fetch/kept"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/rundir"
)

// keepOf is nil where nothing vouches for the image: it would be of no use
// without a server, and can't be told from others.
func keepOf(c config.Config, i *vouch.Image) *kept.Order {
	if i.RootHash == nil && i.SHA256 == nil {
		return nil
	}
	now := time.Now().UTC()
	o := &kept.Order{Disk: c.CacheDisk.Raw, Salt: hex.EncodeToString(i.Salt), Source: i.Source}
	o.Image = kept.Record{Version: 1, Name: i.Source, Kept: now, Seen: now, Size: i.Size, RootHash: i.RootHash, SHA256: i.SHA256}
	if i.Signed != nil {
		o.Image.Name, o.Image.Init, o.Image.Manifest, o.Image.Minisig = i.Signed.Name, i.Signed.Init, i.Signed.Document.Body, i.Signed.Document.Signature
		o.Image.Keys, o.Image.KeysMinisig = i.Signed.KeyList.Body, i.Signed.KeyList.Signature
	}
	size := 0
	for _, document := range i.Artifact {
		size += len(document)
	}
	if size <= mostArtifact {
		o.Image.Artifact = i.Artifact
	}
	return o
}

// mostArtifact is how much is kept of what a registry says of an image, in
// bytes: records are small.
const mostArtifact = 64 << 10

// LeaveOrder tells stage 2 what to keep, if anything.
func (i *Image) LeaveOrder() error {
	if i.Kept == nil {
		return nil
	}
	return rundir.ReplaceJSON(kept.OrderFile, i.Kept)
}
