package root

import (
	"context"
	"fmt"
	"path/filepath"

	"netstage/mount"
	"netstage/nix"
	"netstage/nix/nixosinit"
	"netstage/stage1/kmod"
)

// etcMetadata is where the metadata of /etc are mounted, in the initrd as in
// stage 2, which mounts another one when the configuration is switched.
const etcMetadata = "/run/nixos-etc-metadata"

// mountsEtc tells whether /etc is for the agent to mount. A script as init does
// it itself (nixpkgs: etcActivationCommands).
func mountsEtc(s nix.System) bool { return s.Spec.EtcImage != "" && s.Kind != nix.Classic }

// mountEtc mounts the /etc of a system that has one ready.
func (s *Step) mountEtc(ctx context.Context, system nix.System) error {
	spec := system.Spec
	if spec.EtcImage == "" {
		return nil
	}
	if err := s.Drivers.Load(ctx, "erofs", "loop", "overlay"); err != nil {
		return err
	}
	if !mountsEtc(system) {
		return nil
	}
	image, err := nix.Resolve(newRoot, spec.EtcImage)
	if err != nil {
		return fmt.Errorf("/etc: %w", err)
	}
	base, err := nix.Resolve(newRoot, spec.EtcBasedir)
	if err != nil {
		return fmt.Errorf("/etc: %w", err)
	}
	etc := mount.Etc{Image: filepath.Join(newRoot, image), Basedir: filepath.Join(newRoot, base), Metadata: etcMetadata, ReadOnly: spec.EtcReadOnly}
	if err := etc.Do(newRoot); err != nil {
		return fmt.Errorf("/etc: %w", err)
	}
	text := "/etc mounted, to be written to"
	if spec.EtcReadOnly {
		text = "/etc mounted, read-only"
	}
	s.Log.Info("nixos: " + text)
	return nil
}

// prepareNixOS does what nixos-init would, for a system that relies on it.
func (s *Step) prepareNixOS(system nix.System) error {
	if system.Kind != nix.NixosInit {
		return nil
	}
	if err := nixosinit.Prepare(newRoot, "/run", system); err != nil {
		return err
	}
	if options := system.Spec.StoreOptions; len(options) > 0 {
		store := mount.Entry{Device: "/nix/store", Target: "/nix/store", Type: "none", Options: append([]string{"bind"}, options...)}
		if err := store.Do(context.Background(), newRoot, ""); err != nil {
			return fmt.Errorf("nixos-init: %w", err)
		}
	}
	s.Log.Info("nixos: prepared as by nixos-init")
	return nil
}

// TellKernel names the programs of stage 2 to the kernel, at the very end.
func TellKernel(system nix.System) error {
	if system.Kind != nix.NixosInit {
		return kmod.SetModprobe("/proc", "/sbin/modprobe")
	}
	return nixosinit.Kernel(system.Spec, "/proc", "/sys")
}
