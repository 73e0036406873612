package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Volatile is the file system for what is written: gone at the next boot.
var Volatile = Mount{Type: "tmpfs", Source: "tmpfs", Options: "mode=0755"}

// at is m at another place.
func (m Mount) at(target string) Mount {
	m.Target = target
	return m
}

// NixStore mounts root as nixpkgs' netboot.nix lays it out: a Volatile, or what
// persists in its place, the image at /nix/.ro-store, a tmpfs at
// /nix/.rw-store, and their overlay at /nix/store. systemd finds its fstab
// fulfilled. On failure nothing stays mounted.
func NixStore(root string, written Mount, image *Tree) error {
	var ro, rw, store string
	return build(root,
		written.at(root).Do,
		func() (err error) { // a disk in its place may have links there
			for name, at := range map[string]*string{"nix/.ro-store": &ro, "nix/.rw-store": &rw, "nix/store": &store} {
				if *at, err = inRoot(root, name); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return image.Attach(ro) },
		func() error { return Volatile.at(rw).Do() },
		func() error { return overlay(store, ro, rw, "store") },
	)
}

// WholeRoot mounts an overlay of the image and a Volatile, or what persists in
// its place, at root. The two layers go below the directory layers ("lower" and
// "rw"), which should survive into stage 2. On failure nothing stays mounted.
func WholeRoot(root, layers string, written Mount, image *Tree) error {
	lower, rw := layersOf(layers)
	err := build(root,
		func() error { return image.Attach(lower) },
		written.at(rw).Do,
		func() error { return overlay(root, lower, rw, "upper") },
	)
	if err != nil {
		Discard(rw)
		Discard(lower)
	}
	return err
}

func layersOf(dir string) (lower, rw string) {
	return filepath.Join(dir, "lower"), filepath.Join(dir, "rw")
}

// TakeDown unmounts what NixStore or WholeRoot made, so that nothing holds the
// image of an earlier try.
func TakeDown(root, layers string) error {
	lower, rw := layersOf(layers)
	return errors.Join(Discard(root), Discard(rw), Discard(lower))
}

// build runs the steps in order, and takes root down when one fails.
func build(root string, steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			if undo := Discard(root); undo != nil {
				err = fmt.Errorf("%w (and %w)", err, undo)
			}
			return err
		}
	}
	return nil
}

// overlay mounts lower and the directories upper and work of the writable
// file system rw at target.
func overlay(target, lower, rw, upper string) error {
	for _, dir := range []string{upper, "work"} {
		if err := os.MkdirAll(filepath.Join(rw, dir), 0o755); err != nil {
			return fmt.Errorf("make the overlay's directories: %w", err)
		}
	}
	return Mount{
		Type: "overlay", Source: "overlay", Target: target,
		Options: fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, filepath.Join(rw, upper), filepath.Join(rw, "work")),
	}.Do()
}
