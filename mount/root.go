package mount

import (
	"fmt"
	"os"
	"path/filepath"
)

// NixStore mounts root as nixpkgs' netboot.nix lays it out: a tmpfs, the
// image at /nix/.ro-store, a tmpfs at /nix/.rw-store, and their overlay at
// /nix/store. systemd finds its fstab fulfilled. On failure nothing stays
// mounted.
func NixStore(root string, image *Tree) error {
	ro, rw := filepath.Join(root, "nix/.ro-store"), filepath.Join(root, "nix/.rw-store")
	return build(root,
		Mount{Type: "tmpfs", Source: "tmpfs", Target: root, Options: "mode=0755"}.Do,
		func() error { return image.Attach(ro) },
		Mount{Type: "tmpfs", Source: "tmpfs", Target: rw, Options: "mode=0755"}.Do,
		func() error { return overlay(filepath.Join(root, "nix/store"), ro, rw, "store") },
	)
}

// WholeRoot mounts an overlay of the image and a tmpfs at root. The two
// layers go below the directory layers ("lower" and "rw"), which should
// survive into stage 2. On failure nothing stays mounted.
func WholeRoot(root, layers string, image *Tree) error {
	lower, rw := filepath.Join(layers, "lower"), filepath.Join(layers, "rw")
	err := build(root,
		func() error { return image.Attach(lower) },
		Mount{Type: "tmpfs", Source: "tmpfs", Target: rw, Options: "mode=0755"}.Do,
		func() error { return overlay(root, lower, rw, "upper") },
	)
	if err != nil {
		Discard(rw)
		Discard(lower)
	}
	return err
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
		if err := os.Mkdir(filepath.Join(rw, dir), 0o755); err != nil {
			return fmt.Errorf("make the overlay's directories: %w", err)
		}
	}
	return Mount{
		Type: "overlay", Source: "overlay", Target: target,
		Options: fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, filepath.Join(rw, upper), filepath.Join(rw, "work")),
	}.Do()
}
