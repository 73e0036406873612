package qemutests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/qemu-tests/system"
)

// nixosInit is a store with a system that nixos-init would start: its init is a
// program, init of BusyBox, and /etc has to be mounted for it to find what to
// do. Without mutable /etc is read-only.
func nixosInit(t *testing.T, mutable bool) (artifact, string) {
	t.Helper()
	const (
		image = "/nix/store/0m3adada0m3adada0m3adada0m3adada-etc-metadata.erofs"
		base  = "/nix/store/0bas3dir0bas3dir0bas3dir0bas3dir-etc-lowerdir"
	)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(t.TempDir(), "etc")
	for name, text := range map[string]string{
		"inittab": "::sysinit:" + system.Shell + " /etc/tell\n",
		"large":   strings.Repeat("more than fits into metadata\n", 1000),
		"tell": `export PATH=` + system.Busybox + `/bin
for link in /run/booted-system /run/current-system /usr/bin/env /bin/sh; do echo "link: $link $(readlink $link)"; done
echo "store: $(ls -ldn /nix/store)"
echo "large: $(wc -c </etc/large)"
touch /etc/written && echo "etc: written"
touch /nix/store/x || echo "store: read-only"
` + system.Tell + system.PowerOff,
	} {
		writeFile(t, filepath.Join(etc, name), text)
	}
	if err := os.Chmod(etc+"/large", 0o640); err != nil {
		t.Fatal(err)
	}
	metadata := filepath.Join(t.TempDir(), "metadata")
	if err := system.EtcImage(etc, metadata); err != nil {
		t.Fatal(err)
	}
	erofs, err := os.ReadFile(metadata)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := json.Marshal(map[string]any{
		"org.nixos.nixos-init.v1": map[string]any{
			"firmware": "/nix/store/firmware", "modprobe_binary": "/nix/store/modprobe", "nix_store_mount_opts": []string{"ro", "nodev", "nosuid"},
			"env_binary": system.Busybox + "/bin/env", "sh_binary": system.Shell, "etc_metadata_image": image, "etc_basedir": base,
		},
		"org.netstage.v1": map[string]any{"etc_mutable": mutable},
	})
	if err != nil {
		t.Fatal(err)
	}
	// The program is called init, which is what BusyBox goes by.
	files, err := system.Store(system.Files{"bin/init": string(busybox), "bin/nixos-version": "26.11", "bin/boot.json": string(boot)})
	if err != nil {
		t.Fatal(err)
	}
	files["/"+filepath.Base(image)] = string(erofs)
	for _, name := range []string{"inittab", "large", "tell"} {
		text, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil {
			t.Fatal(err)
		}
		files["/"+filepath.Base(base)+"/"+name] = string(text)
	}
	return pack(t, files, false), system.Toplevel + "/bin/init"
}

// What nixos-init does in the initrd of NixOS the agent does, and mounts /etc.
func TestNixosInit(t *testing.T) {
	needRoot(t)
	for name, mutable := range map[string]bool{"mutable": true, "immutable": false} {
		a, init := nixosInit(t, mutable)
		shown := []string{
			"init " + init + " (nixos-init)", "nixos: prepared as by nixos-init",
			"link: /run/booted-system " + filepath.Dir(init) + "\n", "link: /run/current-system " + filepath.Dir(init) + "\n",
			"link: /usr/bin/env " + system.Busybox + "/bin/env\n", "link: /bin/sh " + system.Shell + "\n",
			"store: drwxrwxr-t", "30000", "large: 29000", "store: read-only", "mount: /run/nixos-etc-metadata erofs", "mount: /etc overlay overlay",
		}
		if mutable {
			shown = append(shown, "nixos: /etc mounted, to be written to", "etc: written")
		} else {
			shown = append(shown, "nixos: /etc mounted, read-only", "mount: /etc overlay overlay ro,nosuid,nodev", "!etc: written")
		}
		t.Run(name, scenario{
			copies: map[string]string{"/nix-store.squashfs": a.path}, cmdline: "init=" + init,
			shown: shown,
		}.run)
	}
}
