package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The systems of a Debian store: the same systemd, started as NixOS does
// classically, and since 26.05; the latter with an /etc that is mounted, too,
// to be written to, and prepared by nixos-init with one that is not.
const (
	DebianTree        = "0d3b1an00d3b1an00d3b1an00d3b1an0-debian" // in the store
	debian            = "/nix/store/" + DebianTree
	DebianClassic     = "/nix/store/0c1ass1c0c1ass1c0c1ass1c0c1ass1c-nixos-system-debian-25.05/init"
	DebianPrepareRoot = "/nix/store/0pr3par00pr3par00pr3par00pr3par0-nixos-system-debian-26.05/init"
	DebianEtcOverlay  = "/nix/store/0v3r1ay00v3r1ay00v3r1ay00v3r1ay0-nixos-system-debian-26.05/init"
	DebianNixosInit   = "/nix/store/0n1x0s1n0n1x0s1n0n1x0s1n0n1x0s1n-nixos-system-debian-26.11/init"
)

// NixosInitTable is what the initrd mounts for DebianNixosInit, where no script
// lays out the root: a Debian has programs and libraries outside of the store.
// Its fstab has them as well, as on NixOS.
const NixosInitTable = debian + `/usr /usr none x-initrd.mount,bind 0 0
` + debian + `/usr/bin /bin none x-initrd.mount,bind 0 0
` + debian + `/usr/sbin /sbin none x-initrd.mount,bind 0 0
` + debian + `/usr/lib /lib none x-initrd.mount,bind 0 0
` + debian + `/usr/lib64 /lib64 none x-initrd.mount,bind 0 0
` + debian + `/var /var none x-initrd.mount,bind 0 0
/persist/machine-id /etc/machine-id none x-initrd.mount,bind,x-netstage.file,x-netstage.mode=0444 0 0
`

// activate does what NixOS's stage 2 does before systemd: the store becomes
// read-only, and the rest of the root is laid out from it.
const activate = layOut + `
cp -a ` + debian + `/etc/. /etc/
` + activated

const layOut = `
set -e
[ "$(readlink /proc/$$/fd/0)" = /dev/console ]
mount --bind /nix/store /nix/store
mount -o remount,bind,ro,nosuid,nodev /nix/store
mkdir -p /usr /var /tmp /root /etc
chmod 1777 /tmp
mount --bind ` + debian + `/usr /usr
for link in bin sbin lib lib64; do ln -s usr/$link /$link; done
cp -a ` + debian + `/var/. /var/
`

// activateOnEtc finds the /etc that the initrd has mounted, and adds nothing.
const activateOnEtc = layOut + `
[ -e /etc/fstab ]
` + activated

const activated = `
echo "activated by $0 as $$, IN_NIXOS_SYSTEMD_STAGE1=$IN_NIXOS_SYSTEMD_STAGE1"
`

// startSystemd is what the NixOS module has stage 2 do instead of executing
// systemd without arguments.
const startSystemd = `
exec 9</run/netstage/systemd-state
exec ` + debian + `/lib/systemd/systemd --switched-root --system --deserialize=9
`

// fstab is what NixOS writes for the file systems of netboot.nix, and of an
// image of another format.
func fstab(format string) string {
	options := "x-initrd.mount,loop"
	if format == "squashfs" {
		options += ",threads=multi"
	}
	return fmt.Sprintf(layout, format, options)
}

const layout = `tmpfs / tmpfs x-initrd.mount,mode=0755 0 0
../nix-store.%[1]s /nix/.ro-store %[1]s %[2]s 0 0
tmpfs /nix/.rw-store tmpfs x-initrd.mount,mode=0755 0 0
overlay /nix/store overlay x-initrd.mount,lowerdir=/nix/.ro-store,upperdir=/nix/.rw-store/store,workdir=/nix/.rw-store/work 0 0
`

// tellUnit reports how far systemd got, and ends the machine.
const tellUnit = `[Unit]
Description=Tell how the boot went
[Service]
ExecStart=/bin/sh -c 'echo "systemd: $(systemctl is-system-running --wait)"; \
  systemctl list-units --failed --plain --no-legend | sed "s/^/failed: /"; \
  while read -r s t f o r; do echo "mount: $t $f $s $o"; done < /proc/self/mounts; \
  echo "PID 1: $(cat /proc/1/comm), multi-user $(systemctl is-active multi-user.target)"; \
  systemd-analyze time | sed "s/^/analyze: /"; \
  echo "touch: $(touch /nix/store/x 2>&1)"; \
  echo "etc: $(stat -c "%%a %%u:%%g" /etc/shadow) $(readlink /etc/os-release) $(wc -c </etc/large) written: $(touch /etc/written 2>&1 && echo yes)"; \
  echo "etc: machine-id $(findmnt -no FSTYPE /etc/machine-id) $(cat /etc/machine-id)"; \
  for link in /run/booted-system /run/current-system /usr/bin/env /bin/sh; do echo "link: $link $(readlink $link)"; done; \
  echo "store: $(stat -c "%%a %%u:%%g" /nix/store), modprobe $(cat /proc/sys/kernel/modprobe), firmware $(cat /sys/module/firmware_class/parameters/path)"; \
  journalctl -b -o short-monotonic -t stage-1-init --no-pager | sed "s/^/journal: /"; \
  systemctl poweroff'
StandardOutput=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
`

// WriteDebian arranges the Debian at root, made by setup/debian.sh, as a store
// in dir, with all its systems, for an image of that format.
func WriteDebian(root, dir, format string) error {
	tree := filepath.Join(dir, filepath.Base(debian))
	// Links instead of copies: nothing below is written in place.
	if out, err := exec.Command("cp", "-al", root, tree).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", root, err, out)
	}
	etc := map[string]string{
		"fstab":                       fstab(format),
		"machine-id":                  "0123456789abcdef0123456789abcdef\n",
		"hostname":                    "netstage\n",
		"systemd/system/tell.service": tellUnit,
		"large":                       strings.Repeat("more than fits into metadata\n", 1000),
	}
	for name, text := range etc {
		if err := replace(filepath.Join(tree, "etc", name), text); err != nil {
			return err
		}
	}
	units := filepath.Join(tree, "etc/systemd/system")
	if err := os.MkdirAll(units+"/multi-user.target.wants", 0o755); err != nil {
		return err
	}
	for name, target := range map[string]string{
		"default.target":                       "/lib/systemd/system/multi-user.target",
		"multi-user.target.wants/tell.service": "/etc/systemd/system/tell.service",
		"serial-getty@ttyS0.service":           "/dev/null", // the console is the test's
	} {
		os.Remove(filepath.Join(units, name))
		if err := os.Symlink(target, filepath.Join(units, name)); err != nil {
			return err
		}
	}

	files, err := busybox("/" + filepath.Base(Busybox))
	if err != nil {
		return err
	}
	files[toplevelFile(DebianClassic, "nixos-version")] = "25.05"
	files[toplevelFile(DebianClassic, "init")] = Script(activate + startSystemd)
	files[toplevelFile(DebianPrepareRoot, "nixos-version")] = "26.05"
	files[toplevelFile(DebianPrepareRoot, "prepare-root")] = Script(activate)
	files[toplevelFile(DebianEtcOverlay, "nixos-version")] = "26.05"
	files[toplevelFile(DebianEtcOverlay, "prepare-root")] = Script(activateOnEtc)
	files[toplevelFile(DebianEtcOverlay, "boot.json")] = bootJSON(DebianEtcOverlay, debianEtc, true)
	files[toplevelFile(DebianNixosInit, "nixos-version")] = "26.11"
	files[toplevelFile(DebianNixosInit, "boot.json")] = bootJSON(DebianNixosInit, nixosInitEtc, false)
	if err := files.Write(dir); err != nil {
		return err
	}
	if err := writeMountedEtc(tree, dir, format); err != nil {
		return err
	}
	for _, init := range []string{DebianPrepareRoot, DebianEtcOverlay, DebianNixosInit} {
		if err := systemdAs(root, filepath.Join(dir, toplevelFile(init, "init"))); err != nil {
			return err
		}
	}
	return nil
}

// systemdAs copies systemd. As on NixOS, it names a loader in the store.
func systemdAs(root, init string) error {
	for _, args := range [][]string{
		{"cp", filepath.Join(root, "lib/systemd/systemd"), init},
		{"patchelf", "--set-interpreter", debian + "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", init},
		{"chmod", "755", init},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func toplevelFile(init, name string) string {
	return strings.TrimPrefix(filepath.Dir(init), "/nix/store") + "/" + name
}

// replace writes a file anew, so that other links to the old one keep it.
func replace(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
