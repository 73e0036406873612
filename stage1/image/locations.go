package image

import (
	"context"
	"io/fs"
	"os"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// locations are what references mean on this network: mirrors, or a file of
// the initrd or of a disk.
func (g *Getter) locations(ctx context.Context, all []ref.Location) ([]ref.Location, error) {
	var places []ref.Location
	for _, l := range all {
		switch l.Kind {
		case ref.File:
			return []ref.Location{l}, g.regular(l.Path)
		case ref.Device:
			path, err := g.Media.Path(ctx, l)
			return []ref.Location{ref.FileAt(path)}, err
		}
		place, err := l.Resolve(g.base())
		if err != nil {
			return nil, err
		}
		if l.Kind == ref.Relative {
			g.log().Info(l.String() + " is " + place.String() + ", by " + g.base().Origin())
		}
		places = append(places, place)
	}
	return places, nil
}

// mirrors are what references to what vouches for an image mean, all of them:
// one that leads to no disk is of no matter where another one is.
func (g *Getter) mirrors(ctx context.Context, all []ref.Location) ([]ref.Location, error) {
	var places []ref.Location
	var failed error
	for i := range all {
		place, err := g.locations(ctx, all[i:i+1])
		if err == nil {
			places = append(places, place...)
			continue
		}
		if failed = both(failed, err); len(all) > 1 {
			g.log().Warn(err.Error(), "err", err)
		}
	}
	if len(places) > 0 || ctx.Err() != nil {
		return places, ctx.Err()
	}
	return nil, failed
}

// regular refuses what has no end or can't be read twice, such as /dev/zero.
func (g *Getter) regular(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.Mode()&fs.ModeType == fs.ModeDevice {
		return nil // opening it will tell
	}
	return fault.Errorf(fault.NoImage, "image: %s is neither a file nor a disk", path)
}
