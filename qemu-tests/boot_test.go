package qemutests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// serve serves an image in the LAN, with faults, and returns its URL.
func serve(t *testing.T, lan *nsmachine.LAN, a artifact, script ...faulty.Behaviour) (*faulty.Server, string) {
	t.Helper()
	content, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	server := faulty.Serve(lan.Listen(t, nsmachine.Gateway+":0"), nil, content, script...)
	t.Cleanup(func() { server.Close() })
	return server, server.URL("image.squashfs")
}

// boot starts the agent as PID 1.
func boot(t *testing.T, c nsmachine.Config) *nsmachine.Machine {
	t.Helper()
	if c.Init == "" {
		c.Init = build(t, agent)
	}
	c.Cmdline = "console=tty0 console=ttyS0,115200 " + c.Cmdline
	return nsmachine.Start(t, c)
}

// expectEnd waits for the end and checks what the console showed.
func expectEnd(t *testing.T, m *nsmachine.Machine, want nsmachine.End, texts ...string) {
	t.Helper()
	if end := m.End(); end != want {
		t.Errorf("the machine %s, want %s", end, want)
	}
	console := m.Console.String()
	for _, text := range texts {
		if not, ok := strings.CutPrefix(text, "!"); ok {
			if strings.Contains(console, not) {
				t.Errorf("%q is on the console", not)
			}
		} else if !strings.Contains(console, text) {
			t.Errorf("no %q on the console", text)
		}
	}
}

// The main job: DHCP, HTTP, a verified image, the netboot layout, stage 2.
func TestFetchedImage(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	server, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=" + url + " rootfs.sha256=" + a.sha256 + " init=" + system.Init + " ip=dhcp"})
	expectEnd(t, m, nsmachine.PoweredOff,
		"stage 2: pid 1 args 0 environment \n", "stage 2: version 25.05", "stage 2 done",
		"mount: / tmpfs tmpfs rw,relatime,mode=755",
		"mount: /nix/.ro-store squashfs /dev/loop", "mount: /nix/.rw-store tmpfs tmpfs rw,relatime,mode=755",
		"mount: /nix/store overlay overlay rw,relatime,lowerdir=/mnt-root/nix/.ro-store,upperdir=/mnt-root/nix/.rw-store/store,workdir=/mnt-root/nix/.rw-store/work",
		"mount: /proc proc proc rw,nosuid,nodev,noexec,relatime",
		"mount: /sys sysfs sysfs rw,nosuid,nodev,noexec,relatime",
		"mount: /run tmpfs tmpfs rw,nosuid,nodev,size=", "mount: /run/keys ramfs ramfs rw,nosuid,nodev,relatime,mode=750",
		"mount: /dev/pts devpts devpts rw,nosuid,noexec,relatime,gid=3,mode=620,ptmxmode=666",
		"mount: /dev/shm tmpfs tmpfs rw,nosuid,nodev",
		"store: writable", "link: eth0 down ", "fd 0: /dev/", "fd 2: /dev/",
		`"name": "network"`, `"sha256": "`+a.sha256+`"`, `"layout": "nix-store"`,
		"!mount: /image", "!entry: /mnt-root", "!entry: /init", "!inet 10.77.0.", "!process: boot",
	)
	if len(server.Log()) != 1 {
		t.Errorf("%d requests for one image", len(server.Log()))
	}
	for _, want := range []string{"<6>stage-1-init: network (5/8)", "<6>stage-1-init: handover (8/8): done"} {
		if !strings.Contains(m.Kmsg.String(), want) {
			t.Errorf("no %q in the kernel log", want)
		}
	}
}

// The all-in-one format: the image is a file of the initrd. No NIC is there,
// and none is waited for.
func TestImageInInitrd(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	for name, cmdline := range map[string]string{
		"by default": "", "named": "rootfs=/nix-store.squashfs", "verified": "rootfs.sha256=" + a.sha256,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := boot(t, nsmachine.Config{Files: map[string]string{"/nix-store.squashfs": a.path}, Cmdline: cmdline + " init=" + system.Init})
			expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "mount: /nix/.ro-store squashfs", "store: writable")
		})
	}
}

func TestRelativeReferences(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	for name, test := range map[string]struct {
		dhcp    string // option; %s is the server's address
		cmdline string
	}{
		"by the boot file's directory": {"--dhcp-option=67,http://%s/dir/boot.ipxe", "rootfs=image.squashfs"},
		"by rootfs.base":               {"--dhcp-option=67,http://192.0.2.1/", "rootfs=image.squashfs rootfs.base=http://%s/dir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			server, _ := serve(t, lan, a)
			lan.DHCP(t, strings.ReplaceAll(test.dhcp, "%s", server.Addr()))
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: strings.ReplaceAll(test.cmdline, "%s", server.Addr()) + " init=" + system.Init})
			expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
			if path := server.Log()[0].Path; path != "/dir/image.squashfs" {
				t.Errorf("asked for %s", path)
			}
		})
	}
}

// The kinds of init that NixOS has, and any other.
func TestKindsOfInit(t *testing.T) {
	t.Parallel()
	stage2, err := os.ReadFile(build(t, "netstage/qemu-tests/testdata/stage2"))
	if err != nil {
		t.Fatal(err)
	}
	program := string(stage2)
	for name, test := range map[string]struct {
		files     system.Files
		wholeRoot bool
		init      string
		end       nsmachine.End
		want      []string
	}{
		"prepare-root": {
			files: system.Files{
				"bin/init":      program,
				"init":          "->bin/init",
				"nixos-version": "26.05",
				"prepare-root":  system.Script("echo prepared as $$ with $IN_NIXOS_SYSTEMD_STAGE1 in $PWD\nmkdir /etc\necho ok > /etc/prepared\n"),
			},
			init: system.Init, end: nsmachine.PoweredOff,
			want: []string{"with true in /\n", "stage 2: pid 1,", "environment []", "entry: /etc", "leaked fd 3: /run/netstage/systemd-state", "!leaked fd 4"},
		},
		"prepare-root fails": {
			files: system.Files{
				"bin/init": program, "init": "->bin/init", "nixos-version": "26.05",
				"prepare-root": system.Script("exit 3\n"),
			},
			init: system.Init, end: nsmachine.Rebooted,
			want: []string{"boot failed: handover", "failed (exit status 3)", "!stage 2: pid 1"},
		},
		"nixos-init": {
			files: system.Files{"bin/init": program, "init": "->bin/init", "nixos-version": "26.05"},
			init:  system.Init, end: nsmachine.Rebooted,
			want: []string{"boot failed: no-init", "system.nixos-init.enable", "!stage 2: pid 1"},
		},
		"whole root": {
			files: system.Files{"sbin/init": "#!/bin/sh\n" + system.Tell + system.PowerOff}, wholeRoot: true,
			init: "/sbin/init", end: nsmachine.PoweredOff,
			want: []string{
				"stage 2: pid 1", "mount: / overlay overlay rw", "stage 2 done", `"layout": "whole-root"`,
				"mount: /run/netstage/lower squashfs", "mount: /run/netstage/rw tmpfs",
			},
		},
		"missing init": {
			files: system.Files{"nixos-version": "25.05"}, init: system.Init, end: nsmachine.Rebooted,
			want: []string{"boot failed: no-init", "no such file", "!stage 2: pid 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a artifact
			if test.wholeRoot {
				files, err := system.Root(test.files)
				if err != nil {
					t.Fatal(err)
				}
				a = pack(t, files, true)
			} else {
				a = store(t, test.files)
			}
			m := boot(t, nsmachine.Config{
				Files:   map[string]string{"/nix-store.squashfs": a.path},
				Cmdline: "boot.fail_timeout=1 init=" + test.init,
			})
			expectEnd(t, m, test.end, test.want...)
		})
	}
}

// What an operator hears, by class, when a boot can't go on; then the reboot.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	junk := filepath.Join(t.TempDir(), "junk")
	writeFile(t, junk, "<html>not found</html>"+strings.Repeat(" ", 4096))
	local := map[string]string{"/nix-store.squashfs": a.path}
	for name, test := range map[string]struct {
		files   map[string]string
		cmdline string
		want    []string
	}{
		"wrong digest of a local image": {local, "rootfs.sha256=" + strings.Repeat("0", 64), []string{"boot failed: mismatch", a.sha256[:16], "!root (7/8)"}},
		"no image":                      {nil, "", []string{"boot failed: no-image", "rootfs="}},
		"image that is none":            {map[string]string{"/nix-store.squashfs": junk}, "", []string{"boot failed: bad-image", "neither squashfs nor erofs"}},
		"bad parameters":                {local, "rootfs.sha256=xyz boot.break=mars", []string{"boot failed: bad-parameter", "rootfs.sha256=", "boot.break=mars"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := boot(t, nsmachine.Config{Files: test.files, Cmdline: "boot.fail_timeout=1 init=" + system.Init + " " + test.cmdline})
			expectEnd(t, m, nsmachine.Rebooted, append(test.want, "!stage 2: pid 1")...)
		})
	}
}

// A wrong digest of a fetched image: nothing is mounted.
func TestFetchedMismatch(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.fail_timeout=1 rootfs=" + url + " rootfs.sha256=" + strings.Repeat("a", 64) + " init=" + system.Init})
	expectEnd(t, m, nsmachine.Rebooted, "boot failed: mismatch", a.sha256[:16], "!root (7/8)", "!stage 2: pid 1")
}

// A server that is down, then drops the connection: the boot goes on where it
// was.
func TestFaultsAreSurvived(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	server, url := serve(t, lan, a, faulty.Behaviour{Status: 503}, faulty.Behaviour{End: faulty.EndClose, Cut: 300_000})
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=" + url + " rootfs.sha256=" + a.sha256 + " init=" + system.Init})
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "503")
	log := server.Log()
	if len(log) != 3 || !strings.HasPrefix(log[2].Range, "bytes=") {
		t.Errorf("requests: %+v", log)
	}
}

// The DHCP server comes up later than the machine.
func TestLateDHCP(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=" + url + " init=" + system.Init})
	m.Expect("still waiting")
	lan.DHCP(t)
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "nothing vouches for it")
}

// The secrets of the initrd are at their places before anything needs them,
// and its own files are gone in stage 2.
func TestSecrets(t *testing.T) {
	t.Parallel()
	secrets := t.TempDir()
	writeFile(t, secrets+"/etc/secret", "hidden")
	a := store(t, classic())
	m := boot(t, nsmachine.Config{
		Files:   map[string]string{"/nix-store.squashfs": a.path, "/.initrd-secrets": secrets},
		Cmdline: "boot.debug1mounts init=" + system.Init,
	})
	m.Expect(`breakpoint before step "handover"`)
	m.Expect("leaves it")
	m.Type("cat /etc/secret; echo; ls -l /etc/mtab\r")
	m.Expect("hidden")
	m.Expect("/etc/mtab -> /proc/mounts")
	m.Type("exit\r")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
}

// A machine without a DHCP server, by the kernel's form of ip=.
func TestStaticAddress(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "ip=10.77.0.50::10.77.0.1:255.255.255.0::eth0:off rootfs=" + url + " rootfs.sha256=" + a.sha256 + " init=" + system.Init})
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", `"address": "10.77.0.50/24"`)
}

// What the NIC was given stays for stage 2 when asked for.
func TestNetworkIsKept(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.network=keep rootfs=" + url + " init=" + system.Init})
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "link: eth0 up ", "inet 10.77.0.")
}
