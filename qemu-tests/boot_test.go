package qemutests

import (
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/system"
)

// The main job: DHCP, HTTP, a verified image, the netboot layout, stage 2.
func TestFetchedImage(t *testing.T) {
	scenario{
		lan:     &network{},
		cmdline: "rootfs={url} rootfs.sha256={sha256} init={init} ip=dhcp",
		shown: []string{
			"stage 2: pid 1 args 0 environment \n", "stage 2: version 25.05",
			"mount: / tmpfs tmpfs rw,relatime,mode=755",
			"mount: /nix/.ro-store squashfs /dev/loop", "mount: /nix/.rw-store tmpfs tmpfs rw,relatime,mode=755",
			"mount: /nix/store overlay overlay rw,relatime,lowerdir=/mnt-root/nix/.ro-store,upperdir=/mnt-root/nix/.rw-store/store,workdir=/mnt-root/nix/.rw-store/work",
			"mount: /proc proc proc rw,nosuid,nodev,noexec,relatime",
			"mount: /sys sysfs sysfs rw,nosuid,nodev,noexec,relatime",
			"mount: /run tmpfs tmpfs rw,nosuid,nodev,size=", "mount: /run/keys ramfs ramfs rw,nosuid,nodev,relatime,mode=750",
			"mount: /dev/pts devpts devpts rw,nosuid,noexec,relatime,gid=3,mode=620,ptmxmode=666",
			"mount: /dev/shm tmpfs tmpfs rw,nosuid,nodev",
			"store: writable", "link: eth0 down ", "fd 0: /dev/", "fd 2: /dev/",
			`"name": "network"`, `"sha256": "{sha256}"`, `"layout": "nix-store"`,
			"!mount: /image", "!entry: /mnt-root", "!entry: /init", "!inet 10.77.0.", "!process: boot",
		},
		kmsg: []string{"<6>stage-1-init: network (5/8)", "<6>stage-1-init: handover (8/8): done"},
		check: func(p *played) {
			if n := len(p.requests()); n != 1 {
				p.t.Errorf("%d requests for one image", n)
			}
		},
	}.run(t)
}

// The all-in-one format: the image is a file of the initrd. No NIC is there,
// and none is waited for.
func TestImageInInitrd(t *testing.T) {
	t.Parallel()
	for name, cmdline := range map[string]string{
		"by default": "", "named": "rootfs=/nix-store.squashfs", "verified": "rootfs.sha256={sha256}",
	} {
		t.Run(name, scenario{
			copies: inInitrd, cmdline: cmdline + " init={init}",
			shown: []string{"mount: /nix/.ro-store squashfs", "store: writable"},
		}.run)
	}
}

func TestRelativeReferences(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"by the boot file's directory": {
			lan:     &network{options: []string{"--dhcp-option=67,http://{addr}/dir/boot.ipxe"}},
			cmdline: "rootfs=image.squashfs init={init}",
			shown:   []string{"image: image.squashfs is http://{addr}/dir/image.squashfs, by the boot file that DHCP named"},
		},
		"by rootfs.base": {
			lan:     &network{options: []string{"--dhcp-option=67,http://192.0.2.1/"}},
			cmdline: "rootfs=image.squashfs rootfs.base=http://{addr}/dir init={init}",
			shown:   []string{"image: image.squashfs is http://{addr}/dir/image.squashfs, by rootfs.base="},
		},
	} {
		s.check = func(p *played) {
			if path := p.requests()[0].Path; path != "/dir/image.squashfs" {
				p.t.Errorf("asked for %s", path)
			}
		}
		t.Run(name, s.run)
	}
}

// oneDescriptor checks that systemd is left the one that it is told of.
func oneDescriptor(p *played) {
	p.t.Helper()
	console := p.console()
	_, rest, _ := strings.Cut(console, "--deserialize=")
	number, _, _ := strings.Cut(rest, `"`)
	if !strings.Contains(console, "leaked fd "+number+": /run/netstage/systemd-state") || strings.Count(console, "leaked fd ") != 1 {
		p.t.Errorf("systemd is told of descriptor %q, and is left:\n%s", number, console)
	}
}

// The kinds of init that NixOS has, and any other.
func TestKindsOfInit(t *testing.T) {
	t.Parallel()
	program := string(read(t, build(t, "netstage/qemu-tests/testdata/stage2")))
	files, err := system.Root(system.Files{"sbin/init": "#!/bin/sh\n" + system.Tell + system.PowerOff})
	if err != nil {
		t.Fatal(err)
	}
	wholeRoot := vouchFor(t, pack(t, files, true))
	for name, s := range map[string]scenario{
		"prepare-root": {
			image: system.Files{
				"bin/init":      program,
				"init":          "->bin/init",
				"nixos-version": "26.05",
				"prepare-root":  system.Script("echo prepared as $$ with $IN_NIXOS_SYSTEMD_STAGE1 in $PWD\nmkdir /etc\necho ok > /etc/prepared\n"),
			},
			shown: []string{"with true in /\n", "stage 2: pid 1,", "environment []", "entry: /etc"},
			check: oneDescriptor,
		},
		"prepare-root fails": {
			image: system.Files{
				"bin/init": program, "init": "->bin/init", "nixos-version": "26.05",
				"prepare-root": system.Script("exit 3\n"),
			},
			ends: refused("handover"), shown: []string{"failed (exit status 3)"},
		},
		"nixos-init": {
			image: system.Files{"bin/init": program, "init": "->bin/init", "nixos-version": "26.05"},
			ends:  refused("no-init"), shown: []string{"nothing would activate the system"},
		},
		"whole root": {
			vouched: &wholeRoot, cmdline: "init=/sbin/init",
			shown: []string{
				"stage 2: pid 1", "mount: / overlay overlay rw", `"layout": "whole-root"`,
				"mount: /run/netstage/lower squashfs", "mount: /run/netstage/rw tmpfs",
			},
		},
		"missing init": {image: system.Files{"nixos-version": "25.05"}, ends: refused("no-init"), shown: []string{"no such file"}},
	} {
		if s.cmdline == "" {
			s.cmdline = "init={init}"
		}
		s.copies = inInitrd
		s.cmdline = "boot.fail_timeout=1 " + s.cmdline
		t.Run(name, s.run)
	}
}

// What an operator hears, by class, when a boot can't go on; then the reboot.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"wrong digest of a local image": {copies: inInitrd, cmdline: "rootfs.sha256=" + strings.Repeat("0", 64), ends: refused("mismatch"),
			shown: []string{vouchOnce(t, classic()).sha256[:16], "!root (7/8)"}},
		"no image": {ends: refused("no-image"), shown: []string{"rootfs="}},
		"image that is none": {files: map[string]string{"/nix-store.squashfs": "<html>not found</html>" + strings.Repeat(" ", 4096)},
			ends: refused("bad-image"), shown: []string{"neither squashfs nor erofs"}},
		"bad parameters": {copies: inInitrd, cmdline: "rootfs.sha256=xyz boot.break=mars", ends: refused("bad-parameter"),
			shown: []string{"rootfs.sha256=", "boot.break=mars"}},
	} {
		s.cmdline = "boot.fail_timeout=1 init={init} " + s.cmdline
		t.Run(name, s.run)
	}
}

// A wrong digest of a fetched image: nothing is mounted.
func TestFetchedMismatch(t *testing.T) {
	scenario{
		lan:     &network{},
		cmdline: "boot.fail_timeout=1 rootfs={url} rootfs.sha256=" + strings.Repeat("a", 64) + " init={init}",
		ends:    refused("mismatch"),
		shown:   []string{vouchOnce(t, classic()).sha256[:16], "!root (7/8)"},
	}.run(t)
}

// A server that is down, then drops the connection: the boot goes on where it
// was.
func TestFaultsAreSurvived(t *testing.T) {
	scenario{
		lan:     mirrored(faulty.Behaviour{Status: 503}, faulty.Behaviour{End: faulty.EndClose, Cut: 300_000}),
		cmdline: "rootfs={url} rootfs.sha256={sha256} init={init}",
		shown:   []string{"503"},
		check: func(p *played) {
			if log := p.requests(); len(log) != 3 || !strings.HasPrefix(log[2].Range, "bytes=") {
				p.t.Errorf("requests: %+v", log)
			}
		},
	}.run(t)
}

// The DHCP server comes up later than the machine.
func TestLateDHCP(t *testing.T) {
	scenario{
		lan:     &network{noDHCP: true},
		cmdline: "rootfs={url} init={init}",
		story:   []step{shows("still waiting"), dhcp()},
		shown:   []string{"nothing vouches for it"},
	}.run(t)
}

// The secrets of the initrd are at their places before anything needs them,
// and its own files are gone in stage 2.
func TestSecrets(t *testing.T) {
	scenario{
		copies:  inInitrd,
		files:   map[string]string{"/.initrd-secrets/etc/secret": "hidden"},
		cmdline: "boot.debug1mounts init={init}",
		story: []step{
			shows(`breakpoint before step "handover"`), prompt,
			types("cat /etc/secret; echo; ls -l /etc/mtab\r"),
			shows("hidden", "/etc/mtab -> /proc/mounts"),
			types("exit\r"),
		},
	}.run(t)
}

// A machine without a DHCP server, by the kernel's form of ip=.
func TestStaticAddress(t *testing.T) {
	scenario{
		lan:     &network{noDHCP: true},
		cmdline: "ip=10.77.0.50::10.77.0.1:255.255.255.0::eth0:off rootfs={url} rootfs.sha256={sha256} init={init}",
		shown:   []string{`"address": "10.77.0.50/24"`},
	}.run(t)
}

// What the NIC was given stays for stage 2 when asked for.
func TestNetworkIsKept(t *testing.T) {
	scenario{
		lan:     &network{},
		cmdline: "boot.network=keep rootfs={url} init={init}",
		shown:   []string{"link: eth0 up ", "inet 10.77.0."},
	}.run(t)
}
