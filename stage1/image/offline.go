package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/verity"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// offlineAfter is how long servers may bring nothing before the image of an
// earlier boot is used, where the policy allows that.
const offlineAfter = time.Minute

var errOffline = errors.New("no server brings a byte")

// cached gets the image from servers with the help of the disk with earlier
// ones, or, where the policy allows it, from that disk alone.
func (g *Getter) cached(ctx context.Context, images []ref.Location) (*Image, error) {
	onDemand := g.Config.OnDemand && g.Stream != nil
	if onDemand {
		g.log().Info("on demand nothing is taken from " + g.Config.CacheDisk.Raw)
		if !g.Config.MayBeOffline() {
			return g.fromAny(ctx, images)
		}
	}
	c := openCache(ctx, g)
	defer func() {
		if err := c.close(); err != nil {
			g.log().Warn("the disk with earlier images", "err", err)
		}
	}()
	if c == nil || len(c.generations) == 0 {
		return g.fromAny(ctx, images)
	}
	own := *g
	if !onDemand {
		own.seed = c.seeds()
	}
	if !g.Config.MayBeOffline() {
		return own.fromAny(ctx, images)
	}
	err := errors.New("the network is not up")
	if g.Network != nil {
		var image *Image
		if image, err = own.whileBytesCome(ctx, images); err == nil || ctx.Err() != nil || !away(err) {
			return image, err
		}
	}
	image, refused := c.lastGood(ctx, err)
	if refused != nil {
		g.log().Warn("no earlier one is used", "err", refused)
		return own.fromAny(ctx, images)
	}
	return image, nil
}

// away tells whether err is of servers that bring nothing, and not of what they
// brought, which was refused. Whoever can break the network can do the former,
// and it gets him no more than an image that was good, and that the policy, the
// signature and the serial allow.
func away(err error) bool {
	switch class := fault.ClassOf(err); {
	case slices.Contains(refusedClasses, class): // who asks once more may be late
		return false
	default:
		return errors.Is(err, errOffline) || class.HTTPStatus() != 0 || slices.Contains(awayClasses, class)
	}
}

// refusedClasses are those of what was brought and is wrong.
var refusedClasses = []fault.Class{
	fault.Policy, fault.Signature, fault.Rollback, fault.Mismatch, fault.Manifest, fault.Artifact, fault.TooLarge,
	fault.BadImage, fault.BadURL, fault.BadParameter, fault.NoMemory,
}

// awayClasses are those of the way to a server, and of servers that don't want
// to. docs/cache.md has the table.
var awayClasses = []fault.Class{
	fault.NoCarrier, fault.NoLease, fault.NoRoute, fault.DNS, fault.Refused, fault.Timeout, fault.Reset, fault.Stalled, fault.Short,
	fault.TLS, fault.TLSDate, fault.TFTP, fault.Redirect, fault.BadRange, fault.Encoding, fault.Protocol, fault.Changed, fault.RegistryAuth,
}

// whileBytesCome is get, which ends when nothing has come for a while.
func (g *Getter) whileBytesCome(ctx context.Context, images []ref.Location) (*Image, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := cmp.Or(g.OfflineAfter, offlineAfter)
	silence := time.AfterFunc(limit, func() { cancel(errOffline) })
	defer silence.Stop()
	var had atomic.Int64
	watched := *g
	watched.Progress = func(p fetch.Progress) {
		if p.Bytes != had.Swap(p.Bytes) {
			silence.Reset(limit)
		}
		if g.Progress != nil {
			g.Progress(p)
		}
	}
	image, err := watched.fromAny(ctx, images)
	if err != nil && context.Cause(ctx) == errOffline {
		err = errors.Join(errOffline, err)
	}
	return image, err
}

// lastGood is the latest of the earlier images that something vouches for and
// that is not too old.
func (c *cache) lastGood(ctx context.Context, why error) (*Image, error) {
	var refused []error
	for i := range c.generations {
		e := &c.generations[i]
		image, err := c.offline(ctx, e)
		if err == nil {
			hours, ago := int64(-1), "who knows when"
			if now := time.Now(); e.AgeKnown(now) {
				hours, ago = int64(e.Age(now).Hours()), days(e.Age(now))+" ago"
			}
			c.g.log().Warn(fmt.Sprintf("no server brings one (%v): booting %q, which a server last had %s, at %s",
				why, e.Name, ago, e.Seen.UTC().Format(time.RFC3339)), "err", why)
			image.Report.OfflineHours, image.Report.Cached, image.Kept = &hours, e.Size, nil
			return image, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		refused = append(refused, fmt.Errorf("%q of %s: %w", e.Name, e.Kept.Format(time.DateOnly), err))
	}
	return nil, errors.Join(refused...)
}

func days(d time.Duration) string { return fmt.Sprintf("%.1f days", d.Hours()/24) }

// offline gets an earlier image as if it lay on any disk: what would vouch for
// the one of a server has to vouch for it.
func (c *cache) offline(ctx context.Context, e *earlier) (*Image, error) {
	now, limit := time.Now(), c.g.Config.Policy.LastGoodFor
	switch age := e.Age(now); {
	case limit >= config.LastGoodForEver:
	case !e.AgeKnown(now):
		return nil, fault.Errorf(fault.Policy, "a server last had it at %s, and the clock says %s: how long ago that is nobody knows, and the policy allows %s (a machine without a clock wants \"offline_days\": %d)",
			e.Seen.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), days(limit), config.LastGoodForEver/(24*time.Hour))
	case age > limit:
		return nil, fault.Errorf(fault.Policy, "a server last had it %s ago, and the policy allows %s", days(age), days(limit))
	}
	own := *c.g
	own.Network, own.Stream = nil, nil
	own.patience, own.lengthOf = diskPatience, func(*os.File) (int64, error) { return e.Size, nil }
	own.Config.Stream, own.Config.Verity, own.Config.Manifest, own.Config.KeyLists = false, nil, nil, nil
	own.Config.CopyToRAM = true // the disk is done with when the system runs
	if err := applyArtifact(&own.Config, e.Record); err != nil {
		return nil, err
	}
	keys, err := manifest.LoadKeys(os.DirFS(c.g.Initrd), config.TrustedKeys[1:])
	switch {
	case err != nil:
		return nil, &fault.Error{Class: fault.Policy, Cause: err}
	case len(keys) > 0:
		defer os.RemoveAll(filepath.Join(c.g.Initrd, offlineDir))
		if own.Config.Manifest, err = c.unpack("manifest", e.Manifest, e.Minisig); err != nil {
			return nil, err
		}
		switch {
		case len(e.Keys) == 0 && len(c.g.Config.KeyLists) > 0: // keys that a list has put out of use would count again
			return nil, fault.Errorf(fault.Policy, "a key list has to say who may sign (rootfs.manifest.keys=), and none was kept with it")
		case len(e.Keys) > 0:
			if own.Config.KeyLists, err = c.unpack("keys", e.Keys, e.KeysMinisig); err != nil {
				return nil, err
			}
		}
	case own.Config.SHA256 == nil && own.Config.RootHash == nil:
		return nil, fault.Errorf(fault.Policy, "nothing vouches for it")
	}
	if e.TreeSize > 0 {
		defer os.RemoveAll(filepath.Join(c.g.Initrd, offlineDir))
		if own.Config.Verity, err = c.copyTree(e); err != nil {
			return nil, err
		}
	}
	return own.get(ctx, []ref.Location{whatIsOpen(e.image)})
}

// offlineDir is where what vouches for it lies while it is checked.
const offlineDir = "/run/netstage/offline"

// diskPatience is how long the disk may take to answer where it has the only
// image.
const diskPatience = 20 * time.Second

// copyTree takes the tree from a disk that may hang.
func (c *cache) copyTree(e *earlier) ([]ref.Location, error) {
	if e.tree == nil || e.TreeSize > verity.Most {
		return nil, fault.Errorf(fault.Mismatch, "its verity tree can't be read")
	}
	path := filepath.Join(c.g.Initrd, offlineDir, "tree")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(file, io.LimitReader(vouch.Patient(e.tree, diskPatience), e.TreeSize))
	return []ref.Location{ref.FileAt(path)}, errors.Join(err, file.Close())
}

func (c *cache) unpack(name string, body, signature []byte) ([]ref.Location, error) {
	path := filepath.Join(c.g.Initrd, offlineDir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, body, 0o600)
	}
	if err == nil {
		err = os.WriteFile(path+manifest.Suffix, signature, 0o600)
	}
	return []ref.Location{ref.FileAt(path)}, err
}
