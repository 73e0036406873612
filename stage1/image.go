package stage1

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"slices"
	"time"

	"netstage/fetch"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/mount"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// getImage finds the image in the initrd or fetches it, with all that vouches
// for it.
func (b *Boot) getImage(ctx context.Context) error {
	if b.image != nil && !b.imageIsBad {
		b.Log.Info("image: it is there already; what failed was something else")
		return nil
	}
	b.imageIsBad = false
	if err := b.dropImage(); err != nil { // a retry
		return err
	}
	b.download = Download{}
	order, err := b.order(ctx)
	if err != nil {
		return err
	}
	b.setClock(ctx, order)
	b.tellAt = time.Now().Add(waitingAfter)
	image, err := vouch.Get(ctx, order)
	b.endWaiting()
	b.Status("")
	if err != nil {
		b.noteDownload(err)
		return err
	}
	if err := b.closeMedia(order.Load != nil); err != nil {
		return errors.Join(err, image.Close())
	}
	b.image, b.tree = image.File, image.Tree
	b.source = reportOf(image)
	if image.Signed != nil {
		b.config.Init = image.Init // the one that was signed
	}
	if image.Stats.Requests == 0 {
		b.Log.Info(fmt.Sprintf("image: %s, %d MiB", describeLocal(image.Source, order.Load != nil), image.Size>>20))
	}
	return nil
}

// dropImage forgets what an earlier try left.
func (b *Boot) dropImage() error {
	if b.image != nil {
		b.image.Close()
		b.image = nil
	}
	if b.tree != nil {
		b.tree.File.Close()
		b.tree = nil
	}
	return errors.Join(mount.Discard(imageDir), b.dropMedia())
}

// order says what image is wanted and what must vouch for it.
func (b *Boot) order(ctx context.Context) (vouch.Order, error) {
	c := b.config
	keys, err := manifest.LoadKeys(os.DirFS("/"), config.TrustedKeys[1:])
	if err != nil {
		return vouch.Order{}, &fault.Error{Class: fault.Policy, Cause: err}
	}
	o := vouch.Order{SHA256: c.SHA256, RootHash: c.RootHash, Keys: keys, NotBefore: c.Newer, KeepTree: c.MountVerity}
	if c.WantInit {
		o.Init = c.Init
	}
	if o.Images, err = b.locations(ctx, c.Images("/")); err != nil {
		return o, err
	}
	if o.Trees, err = b.locations(ctx, c.Verity); err != nil {
		return o, err
	}
	if o.Manifests, err = b.locations(ctx, c.Manifest); err != nil {
		return o, err
	}
	signed := len(keys) > 0 || len(c.Manifest) > 0
	switch {
	case signed:
	case len(o.Images) == 0:
		return o, fault.Errorf(fault.NoImage, "no rootfs= was given, and the initrd has no %s", config.LocalImage)
	case c.SHA256 == nil && c.RootHash == nil && c.Policy.RequireVouched:
		return o, fault.Errorf(fault.Policy, "nothing vouches for the image, and the initrd wants that something does: give rootfs.sha256= or rootfs.roothash=")
	case c.SHA256 == nil && c.RootHash == nil:
		b.Log.Warn("image: nothing vouches for it; give rootfs.sha256=")
	}
	if o.Fetch, err = b.request(); err != nil {
		return o, err
	}
	if b.copiesImage(signed, o.Images) {
		o.Load = mount.LengthOf
	}
	b.warnOfNoAuthorities(o)
	o.Fetch.Bearer, err = b.token(slices.Concat(o.Images, o.Trees, o.Manifests))
	return o, err
}

// locations are what references mean on this network: mirrors, or a file of
// the initrd or of a disk.
func (b *Boot) locations(ctx context.Context, refs []ref.Location) ([]ref.Location, error) {
	var places []ref.Location
	for _, l := range refs {
		switch l.Kind {
		case ref.File:
			return []ref.Location{l}, nil
		case ref.Device:
			path, err := b.onMedium(ctx, l)
			return []ref.Location{ref.FileAt(path)}, err
		}
		var base ref.Base
		if b.network != nil {
			base = b.base(b.network.Lease())
		}
		place, err := l.Resolve(base)
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	return places, nil
}

// request says how to fetch.
func (b *Boot) request() (fetch.Request, error) {
	r := fetch.Request{
		Store: fetch.Memory(imageDir), UserAgent: "netstage/" + b.Version, Floor: b.config.Floor, Log: b.Log,
		Progress: b.follow(),
	}
	var err error
	if b.config.Proxy != "" {
		proxy, err := config.ParseProxy(b.config.Proxy)
		if err != nil {
			return r, err
		}
		r.Proxy = http.ProxyURL(proxy)
	}
	if r.Roots, err = authorities(b.config.CA, config.OwnCA); err != nil || b.network == nil {
		return r, err
	}
	seed := fnv.New64a()
	seed.Write(b.network.Lease().MAC)
	r.Dial, r.Seed = b.network.DialContext, seed.Sum64()
	return r, nil
}

func reportOf(i *vouch.Image) report.Image {
	r := report.Image{Source: i.Source, Size: i.Size, SHA256: hex.EncodeToString(i.SHA256), RootHash: hex.EncodeToString(i.RootHash)}
	if i.Signed != nil {
		r.Manifest = &report.Manifest{Source: i.Signed.Source, Name: i.Signed.Name, Key: i.Signed.Key.ID()}
	}
	return r
}
