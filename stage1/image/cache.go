package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"netstage/fetch/kept"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/mount"
)

// cacheLimit is how long the disk with earlier images may take to appear and be
// read: the boot does not need it.
const cacheLimit = 15 * time.Second

// A cache is the disk with the images of earlier boots, mounted to be read.
type cache struct {
	g           *Getter
	dir         string
	disk        *os.Root
	generations []earlier
	files       []*os.File
}

// An earlier image, whose files are open: whatever its disk does later, only
// reading can hang.
type earlier struct {
	kept.Generation
	image, tree *os.File // tree may be nil
}

// openCache returns nil where there is nothing to be had. It may be left behind
// by a disk that hangs, which then closes what it opened.
func openCache(ctx context.Context, g *Getter) *cache {
	ctx, cancel := context.WithTimeoutCause(ctx, cacheLimit, fmt.Errorf("it did not answer within %v", cacheLimit))
	defer cancel()
	type result struct {
		cache *cache
		err   error
	}
	opened, late := make(chan result), make(chan struct{})
	defer close(late)
	go func() {
		c, err := mountCache(ctx, g)
		select {
		case opened <- result{c, err}:
		case <-late:
			c.close()
		}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			g.log().Warn("the disk with earlier images is not used", "err", r.err)
		}
		return r.cache
	case <-ctx.Done():
		g.log().Warn("the disk with earlier images is not used", "err", context.Cause(ctx))
		return nil
	}
}

func mountCache(ctx context.Context, g *Getter) (*cache, error) {
	place := g.Config.CacheDisk
	place.Path = "/"
	dir, err := g.Cache.Path(ctx, place)
	if err != nil {
		return nil, err
	}
	c := &cache{g: g, dir: filepath.Clean(dir)}
	if c.disk, err = os.OpenRoot(c.dir); err != nil {
		c.close()
		return nil, err
	}
	list, wrong := kept.List(c.disk)
	for _, g := range list {
		e := earlier{Generation: g}
		if e.image, err = c.open(g.Image); err == nil {
			if g.TreeSize > 0 {
				e.tree, err = c.open(g.Tree)
			}
			c.generations = append(c.generations, e)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, err := range wrong {
		g.log().Warn("an earlier one, or a part of it, is not used", "err", err)
	}
	return c, nil
}

// close takes the disk down.
func (c *cache) close() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	if c.disk != nil {
		errs = append(errs, c.disk.Close())
	}
	return errors.Join(append(errs, mount.Discard(c.dir))...)
}

// open keeps a file of the disk open until the cache is closed.
func (c *cache) open(open func() (*os.File, error)) (*os.File, error) {
	f, err := open()
	if err == nil {
		c.files = append(c.files, f)
	}
	return f, err
}

// seeds are the earlier images, the latest first.
func (c *cache) seeds() []vouch.Seed {
	var seeds []vouch.Seed
	for _, e := range c.generations {
		seeds = append(seeds, vouch.Seed{Name: fmt.Sprintf("%q of %s on %s", e.Name, e.Kept.Format(time.DateOnly), c.g.Config.CacheDisk.Raw), File: e.image, Size: e.Size})
	}
	return seeds
}

// whatIsOpen is a file by its descriptor: what was looked at is what is used.
func whatIsOpen(f *os.File) ref.Location { return ref.FileAt(fmt.Sprintf("/proc/self/fd/%d", f.Fd())) }

// cache is the cache of images: the one that was asked for, else the one that
// DHCP names. Nobody has to trust it.
func (g *Getter) cache() ref.Location {
	if g.Config.Cache.Kind == ref.URL || g.Network.Cache == "" {
		return g.Config.Cache
	}
	l, err := ref.ParseURL(g.Network.Cache)
	if err != nil || l.Scheme() == "tftp" {
		g.log().Warn("DHCP names the cache " + ref.Redacted(g.Network.Cache) + ": want an http:// or https:// URL")
		return ref.Location{}
	}
	g.log().Info("DHCP names the cache " + l.String())
	return l
}
