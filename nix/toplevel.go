// Package nix knows what NixOS puts into an image: store paths, toplevels,
// the kinds of init, and the ways Nix writes a digest.
package nix

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"netstage/stage1/fault"
)

// A Kind says how an init wants to be started.
type Kind string

const (
	// Classic is the shell script of stage-2-init.sh, which activates the
	// system and starts systemd itself.
	Classic Kind = "classic"
	// PrepareRoot is a toplevel of NixOS 26.05 or later: its prepare-root
	// activates the system, then its init, systemd itself, is executed.
	PrepareRoot Kind = "prepare-root"
	// NixosInit is a toplevel of system.nixos-init.enable: its init is systemd,
	// and what it tells in boot.json is done before (package nixosinit).
	NixosInit Kind = "nixos-init"
	// Plain is any executable outside a toplevel.
	Plain Kind = "plain"
)

// A System is what init= names, looked at inside the new root.
type System struct {
	Kind     Kind
	Init     string // resolved path inside the root, to be executed
	Toplevel string // its toplevel inside the root; empty for Plain
	Prepare  string // program to run before Init, inside the root; or empty
	Spec     Bootspec
}

// Inspect resolves init inside the directory root, proves that it can be
// executed there, and tells its kind. Its errors are of
// class no-init.
//
// A directory with a nixos-version file is a toplevel (nixpkgs:
// nixos/modules/system/activation/top-level.nix); the one that holds the
// fully resolved init comes first, then the one that init itself names.
func Inspect(root, init string) (System, error) {
	system, err := inspect(root, init)
	if err != nil {
		return System{}, fault.Errorf(fault.NoInit, "init=%s can't be started: %w", init, err)
	}
	return system, nil
}

func inspect(root, init string) (System, error) {
	resolved, err := Resolve(root, init)
	if err != nil {
		return System{}, err
	}
	header, err := proveExecutable(root, resolved)
	if err != nil {
		return System{}, err
	}
	toplevel, ok := findToplevel(root, path.Dir(resolved), path.Dir(init))
	if !ok {
		return System{Kind: Plain, Init: resolved}, nil
	}
	spec, err := ReadBootspec(root, toplevel)
	if err != nil {
		return System{}, err
	}
	system := System{Kind: Classic, Init: resolved, Toplevel: toplevel, Spec: spec}
	if prepare, err := Resolve(root, toplevel+"/prepare-root"); err == nil {
		if _, err := proveExecutable(root, prepare); err != nil {
			return System{}, err
		}
		system.Kind, system.Prepare = PrepareRoot, prepare
		return system, nil
	}
	if header == scriptFile {
		return system, nil
	}
	if system.Kind = NixosInit; !spec.NixosInit || spec.EtcImage == "" {
		return System{}, fmt.Errorf("%s is a NixOS system whose init is a program, without prepare-root beside it and without an /etc in its boot.json: nothing would activate the system", toplevel)
	}
	return system, nil
}

func findToplevel(root string, dirs ...string) (string, bool) {
	for _, dir := range dirs {
		dir, err := Resolve(root, dir)
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, dir, "nixos-version")); err == nil {
			return dir, true
		}
	}
	return "", false
}
