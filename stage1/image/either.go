package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"netstage/fetch"
	"netstage/fetch/ref"
)

// kinds splits locations in those on this machine and those on servers. Where
// what vouches for the image is on a disk, too, the order given is kept: nil.
func (g *Getter) kinds(all []ref.Location) (here, servers []ref.Location) {
	onDisk := func(l ref.Location) bool { return l.Kind == ref.Device }
	if slices.ContainsFunc(g.Config.Verity, onDisk) || slices.ContainsFunc(g.Config.Manifest, onDisk) || slices.ContainsFunc(g.Config.KeyLists, onDisk) {
		return nil, nil
	}
	for _, l := range all {
		if l.Remote() {
			servers = append(servers, l)
		} else {
			here = append(here, l)
		}
	}
	return here, servers
}

var errDisk = errors.New("the image is on a disk of this machine")

// either takes the image from where it can be had first: from a disk that is
// there before a server has sent anything, or else from the servers, and from
// either where the other fails.
func (g *Getter) either(ctx context.Context, here, servers []ref.Location) (*Image, error) {
	if g.Network == nil { // or one that an operator has made
		image, err := g.get(ctx, here)
		if err == nil || ctx.Err() != nil {
			return image, err
		}
		g.Log.Warn(fmt.Sprintf("image: %v; now the servers", err))
		return g.get(ctx, servers)
	}
	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	found := make(chan error, 1)
	go func() {
		_, err := g.locations(looking, here)
		found <- err
	}()

	fetching, stopFetching := context.WithCancelCause(ctx)
	defer stopFetching(nil)
	var started atomic.Bool
	fetcher := *g
	fetcher.Stream = nil // there would be two images, and one stream
	if g.Config.Stream {
		g.Log.Warn("image: a disk or a server may have it, whichever is first: it is used when it is whole, as if rootfs.stream were not given")
	}
	fetcher.Progress = func(p fetch.Progress) {
		started.CompareAndSwap(false, p.Bytes > 0)
		if g.Progress != nil {
			g.Progress(p)
		}
	}
	fetcher.Media = keepOpen{g.Media} // they are still looked for
	type result struct {
		image *Image
		err   error
	}
	fetched := make(chan result, 1)
	go func() {
		image, err := fetcher.get(fetching, servers)
		fetched <- result{image, err}
	}()

	var noDisk, noServer error
	for {
		select {
		case noDisk = <-found:
			found = nil
			switch {
			case noDisk != nil && noServer != nil:
				return nil, errors.Join(noServer, noDisk)
			case noDisk != nil:
				g.Log.Warn(fmt.Sprintf("image: %v; the servers are still asked", noDisk))
			case noServer != nil:
				return g.get(ctx, here)
			case !started.Load():
				stopFetching(errDisk)
			}
		case r := <-fetched:
			fetched = nil
			if r.err == nil {
				stopLooking()
				if found != nil {
					<-found
				}
				return r.image, g.Media.Close()
			}
			if noServer = r.err; found != nil {
				g.Log.Warn(fmt.Sprintf("image: %v; the disk is still waited for", noServer))
				continue
			}
			if noDisk != nil {
				return nil, errors.Join(noServer, noDisk)
			}
			return g.get(ctx, here)
		}
	}
}

// keepOpen are media that are not closed by who has done with them.
type keepOpen struct{ Media }

func (keepOpen) Close() error { return nil }
