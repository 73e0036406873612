package system

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
)

// mountedEtc is an /etc for the initrd to mount: where the image of its
// metadata is, and the folder with its contents.
type mountedEtc struct{ metadata, basedir string }

// The /etc that are mounted: Debian's, and one whose fstab has what the initrd
// mounts for DebianNixosInit.
var (
	debianEtc    = mountedEtc{"/nix/store/0m3adada0m3adada0m3adada0m3adada-etc-metadata.erofs", debian + "/etc"}
	nixosInitEtc = mountedEtc{
		"/nix/store/1m3adada1m3adada1m3adada1m3adada-etc-metadata.erofs",
		"/nix/store/1l0w3rd11l0w3rd11l0w3rd11l0w3rd1-etc-lowerdir",
	}
)

// writeMountedEtc makes both in the store dir; tree is its Debian.
func writeMountedEtc(tree, dir, format string) error {
	inStore := func(path string) string { return filepath.Join(dir, filepath.Base(path)) }
	if err := EtcImage(filepath.Join(tree, "etc"), inStore(debianEtc.metadata)); err != nil {
		return err
	}
	etc := inStore(nixosInitEtc.basedir)
	if out, err := exec.Command("cp", "-al", filepath.Join(tree, "etc"), etc).CombinedOutput(); err != nil {
		return fmt.Errorf("copy /etc: %w: %s", err, out)
	}
	if err := replace(filepath.Join(etc, "fstab"), fstab(format)+NixosInitTable); err != nil {
		return err
	}
	// What the initrd mounted systemd leaves alone to the end, when it executes
	// its last program; by itself since version 254, which Debian 12 is not.
	for _, unit := range []string{"nix-store", "usr", "bin", "sbin", "lib", "lib64", "var"} {
		if err := replace(filepath.Join(etc, "systemd/system", unit+".mount.d/kept.conf"), "[Unit]\nDefaultDependencies=no\n"); err != nil {
			return err
		}
	}
	return EtcImage(etc, inStore(nixosInitEtc.metadata))
}

// bootJSON is what nixpkgs writes for a toplevel (RFC 125), and the netstage
// module adds to.
func bootJSON(init string, etc mountedEtc, mutable bool) string {
	text, err := json.Marshal(map[string]any{
		"org.nixos.bootspec.v1": map[string]any{"init": init, "toplevel": filepath.Dir(init), "system": "x86_64-linux", "label": "Debian", "kernelParams": []string{}},
		"org.nixos.nixos-init.v1": map[string]any{
			"firmware": debian + "/usr/lib/firmware", "modprobe_binary": debian + "/usr/sbin/modprobe", "nix_store_mount_opts": []string{"ro", "nodev", "nosuid"},
			"env_binary": debian + "/usr/bin/env", "sh_binary": debian + "/usr/bin/dash",
			"etc_metadata_image": etc.metadata, "etc_basedir": etc.basedir,
		},
		"org.nixos.specialisation.v1": map[string]any{},
		"org.netstage.v1":             map[string]any{"etc_mutable": mutable},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}
