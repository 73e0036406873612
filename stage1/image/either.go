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
		return g.inTurn(ctx, here, func() (*Image, error) { return g.get(ctx, servers) })
	}
	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	found := make(chan error, 1)
	go func() {
		found <- g.find(looking, here)
	}()

	fetching, stopFetching := context.WithCancelCause(ctx)
	defer stopFetching(nil)
	var started atomic.Bool
	fetcher := *g
	fetcher.Stream = nil // there would be two images, and one stream
	if g.Config.Stream {
		g.log().Warn("a disk or a server may have it, whichever is first: it is used when it is whole, as if rootfs.stream were not given")
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
				return nil, both(noServer, noDisk)
			case noDisk != nil:
				g.log().Warn(noDisk.Error()+"; the servers are still asked", "err", noDisk)
			case noServer != nil:
				return g.inTurn(ctx, here, func() (*Image, error) { return nil, noServer })
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
				g.log().Warn(noServer.Error()+"; the disk is still waited for", "err", noServer)
				continue
			}
			if noDisk != nil {
				return nil, both(noServer, noDisk)
			}
			return g.inTurn(ctx, here, func() (*Image, error) {
				if context.Cause(fetching) != errDisk {
					return nil, noServer
				}
				image, err := fetcher.get(ctx, servers) // which were left for the disk
				return image, errors.Join(err, g.Media.Close())
			})
		}
	}
}

// find waits until one of the places of this machine is there.
func (g *Getter) find(ctx context.Context, here []ref.Location) (err error) {
	for i := range here {
		_, missing := g.locations(ctx, here[i:i+1])
		if missing == nil {
			return nil
		}
		err = both(err, missing)
	}
	return err
}

// inTurn takes the image from the first place of this machine that has it as
// it is to be, and where none does, from elsewhere.
func (g *Getter) inTurn(ctx context.Context, here []ref.Location, elsewhere func() (*Image, error)) (*Image, error) {
	var failed error
	for i := range here {
		image, err := g.get(ctx, here[i:i+1])
		if err == nil || ctx.Err() != nil {
			return image, err
		}
		g.log().Warn(err.Error()+"; now the next place", "err", err)
		failed = both(failed, err)
	}
	image, err := elsewhere()
	if err != nil {
		return nil, both(err, failed)
	}
	return image, nil
}

// both are two failures in one line, of the class of the first. Either may be
// none.
func both(one, other error) error {
	if one == nil || other == nil {
		return errors.Join(one, other)
	}
	return fmt.Errorf("%w; %w", one, other)
}

// keepOpen are media that are not closed by who has done with them.
type keepOpen struct{ Media }

func (keepOpen) Close() error { return nil }
