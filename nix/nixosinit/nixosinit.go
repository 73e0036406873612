// Package nixosinit lays out a new root as nixpkgs' nixos-init does in the
// initrd (pkgs/by-name/ni/nixos-init), for toplevels that have nothing else to
// activate them: a dozen links and permissions. Mounting is not its matter.
package nixosinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"netstage/nix"
)

// Owner and mode of the store: root's, and the builders' group may add to it
// (nixpkgs: stage-2-init.sh; ids.nix has nixbld as 30000).
const (
	builders  = 30000
	storeMode = 0o775 | fs.ModeSticky
)

// Prepare lays out root for system. run is the folder that becomes its /run.
func Prepare(root, run string, system nix.System) error {
	store := filepath.Join(root, "nix/store")
	if err := errors.Join(os.Chown(store, 0, builders), os.Chmod(store, storeMode)); err != nil && !readOnly(err) {
		return fmt.Errorf("nixos-init: permissions of /nix/store: %w", err)
	}
	links := []struct{ name, target string }{
		{filepath.Join(run, "booted-system"), system.Toplevel},
		{filepath.Join(run, "current-system"), system.Toplevel},
		{filepath.Join(root, "usr/bin/env"), system.Spec.Env},
		{filepath.Join(root, "bin/sh"), system.Spec.Shell},
	}
	for _, l := range links {
		if l.target == "" {
			continue
		}
		if err := link(l.name, l.target); err != nil {
			return fmt.Errorf("nixos-init: %w", err)
		}
	}
	return nil
}

// Kernel tells the kernel where programs and firmware of stage 2 are; what it
// has no file for it has no need of. The paths become right when the root is
// switched: call it last.
func Kernel(spec nix.Bootspec, proc, sys string) error {
	settings := []struct{ file, value string }{
		{filepath.Join(proc, "sys/kernel/modprobe"), spec.Modprobe},
		{filepath.Join(sys, "module/firmware_class/parameters/path"), spec.Firmware},
	}
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		file, err := os.OpenFile(s.file, os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = file.WriteString(s.value)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return fmt.Errorf("nixos-init: %w", err)
		}
	}
	return nil
}

// link makes name a link to target, whatever link or file is there.
func link(name, target string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	next := name + ".netstage"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, name)
}
