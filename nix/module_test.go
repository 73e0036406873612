package nix

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needNix skips where there is no Nix.
func needNix(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("nix-instantiate"); err != nil {
		t.Skip("needs Nix: run qemu-tests/setup/deps.sh")
	}
}

// Every .nix file of the project is read by Nix.
func TestNixFilesParse(t *testing.T) {
	needNix(t)
	var files []string
	for _, pattern := range []string{"*.nix", "testdata/*.nix", "../*.nix", "../qemu-tests/nixos/*.nix"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	var says strings.Builder
	cmd := exec.Command("nix-instantiate", append([]string{"--store", "dummy://", "--parse"}, files...)...)
	if cmd.Stderr = &says; cmd.Run() != nil {
		t.Error(says.String())
	}
}

// evaluated is what testdata/eval.nix tells.
type evaluated struct {
	Failed      []string
	Warnings    []string
	Active      bool
	Own         []string // options of boot.netstage
	Initrd      bool     // of NixOS itself
	Images      []string // variants of build-image
	Builder     string   // what the toplevel's builder does besides
	Bootspec    map[string]map[string]any
	Services    []string
	Systemd     string // what stage 2 starts
	FileSystems map[string]struct {
		Device, FsType string
		Options        []string
	}
	Outputs map[string]struct{ Path, Script string }
	texts   string // all files that the evaluation wrote
}

// evaluate evaluates the module with a configuration: by nixpkgs' lib when lib
// is its folder, else by the stand-in.
func evaluate(t *testing.T, lib, settings string) evaluated {
	t.Helper()
	e, err := tryEvaluate(t, lib, settings)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tryEvaluate tells what is wrong with a configuration, too; more are further
// arguments of eval.nix.
func tryEvaluate(t *testing.T, lib, settings string, more ...string) (evaluated, error) {
	t.Helper()
	if lib == "" {
		lib = "null"
	}
	store := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", store).Run() })
	cmd := exec.Command("nix-instantiate", "--store", store, "--option", "build-users-group", "", "--read-write-mode", "--eval", "--strict", "--json", "testdata/eval.nix",
		"--arg", "nixpkgsLib", lib, "--arg", "settings", settings, "--argstr", "store", store)
	cmd.Args = append(cmd.Args, more...)
	cmd.Env = append(os.Environ(), "HOME="+store)
	var says strings.Builder
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		return evaluated{}, fmt.Errorf("%w\n%s", err, says.String())
	}
	var e evaluated
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(store, "nix/store/*-netstage-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(filepath.Base(file), "-netstage-")
		e.texts += name + ": " + string(text) + "\n"
	}
	return e, nil
}

// The agent that nix/default.nix builds, and the one of its module, know how
// old the sources are.
func TestBuildsKnowTheirAge(t *testing.T) {
	needNix(t)
	commit, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		t.Skipf("needs a git checkout: %v", err)
	}
	store := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", store).Run() })
	const pkgs = "{ callPackage = _: arguments: arguments; }"
	cmd := exec.Command("nix-instantiate", "--store", store, "--option", "build-users-group", "", "--read-write-mode", "--eval", "--strict", "--json", "-E",
		"let p = "+pkgs+"; d = import ./. { pkgs = p; }; in [ d.netstage.lastModified (d.module { lib.mkDefault = x: x; pkgs = p; }).config.boot.netstage.package.lastModified ]")
	cmd.Env = append(os.Environ(), "HOME="+store)
	var says strings.Builder
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, says.String())
	}
	at := strings.TrimSpace(string(commit))
	if got, want := strings.TrimSpace(string(out)), "["+at+","+at+"]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// eachLib runs a test with the stand-in for nixpkgs' lib, and with the real one
// at $NETSTAGE_NIXPKGS_LIB.
func eachLib(t *testing.T, test func(t *testing.T, lib string)) {
	needNix(t)
	t.Run("stub", func(t *testing.T) { test(t, "") })
	if lib := os.Getenv("NETSTAGE_NIXPKGS_LIB"); lib != "" {
		t.Run("nixpkgs", func(t *testing.T) { test(t, lib) })
	}
}

// plainQuotes undoes the quotes that only one of the two libs puts around plain
// words.
var plainQuotes = strings.NewReplacer("'", "", `"`, "")

func expectAll(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		not, negative := strings.CutPrefix(want, "!")
		if strings.Contains(text, not) == negative {
			t.Errorf("%s: %q, in\n%s", what, want, text)
		}
	}
}

func TestModuleDefaults(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, "{ boot.netstage.enable = true; }")
		if len(e.Failed) > 0 {
			t.Errorf("assertions: %q", e.Failed)
		}
		for place, want := range map[string]string{
			"/": "tmpfs tmpfs mode=0755", "/nix/.rw-store": "tmpfs tmpfs mode=0755",
			"/nix/.ro-store": "../nix-store.squashfs squashfs loop threads=multi",
			"/nix/store":     "overlay overlay lowerdir=/nix/.ro-store upperdir=/nix/.rw-store/store workdir=/nix/.rw-store/work",
		} {
			fs := e.FileSystems[place]
			options := slices.DeleteFunc(fs.Options, func(o string) bool { return strings.HasPrefix(o, "x-") })
			if got := fs.Device + " " + fs.FsType + " " + strings.Join(options, " "); got != want {
				t.Errorf("%s: %q, want %q", place, got, want)
			}
		}
		if got := strings.Join(e.Services, " "); got != "netstage-live-password netstage-register-paths netstage-report" {
			t.Error(got)
		}
		ramdisk := plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script)
		expectAll(t, "initrd", ramdisk, "echo init=/nix/store/", "echo rootfs.roothash=$(cat /outputs/netstage-image/nix-store.squashfs.roothash)",
			"netstage initrd", "--init /package/bin/stage1 --kernel-modules /modules/lib/modules/6.12.30 ", ":/etc/netstage/policy.json", "!trusted.d", "!--module", "!--prepend", "!keymap", "!hostid")
		expectAll(t, "files", e.texts, `policy.json: {"cmdline":[`, `"shell":"never","verify":"required","version":1}`, "!rootfs", "!shell_on_fail", "cmdline: boot.dhcp.hostname=nixos\n")
		expectAll(t, "tree", plainQuotes.Replace(e.Outputs["netstageTree"].Script), "cp /kernel/bzImage $out/bzImage", "echo init=/nix/store/", "echo loglevel=4", "netstage scripts $out", "!rootfs=")
		expectAll(t, "image", plainQuotes.Replace(e.Outputs["netstageImage"].Script), "--closure-info /closure", "--compression zstd:19", "--manifest", "--processors ${NIX_BUILD_CORES:-0}")
		if e.Initrd || !e.Active || !slices.Contains(e.Images, "netstage") {
			t.Errorf("initrd %v, active %v, images %q", e.Initrd, e.Active, e.Images)
		}
		// All of them are shell scripts.
		for name, output := range e.Outputs {
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(output.Script)
			if out, err := check.CombinedOutput(); err != nil || output.Script == "" {
				t.Errorf("%s: %v, %s", name, err, out)
			}
		}
	})
}

func TestModuleOptions(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{
			boot.netstage = {
				enable = true;
				rootfs = [ "https://a.example/x.squashfs" "http://b.example/x.squashfs?a=b" ];
				trustedKeys = [ "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3" "/keys/ops.pub" ];
				authorizedFallbackShell = true;
				manifestNotBefore = "2026-11-23";
				manifestName = "web";
				manifestKeys = [ "http://a/keys" "http://b/keys" ];
				policy = { shell = "never"; manifest = 2; signatures = 2; rollback = "required"; };
				allNetworkDrivers = false;
				modules = [ "igb" ];
				network.interfaces.lan0 = { mac = "52:54:00:AB:CD:EF"; address = "192.0.2.10/24"; gateway = "192.0.2.1"; };
				network.interfaces.lan1 = { mac = null; address = "2001:db8::2/64"; gateway = "2001:db8::1"; };
				network.nameservers = [ "192.0.2.1" ];
				network.keep = true;
				network.timeout = 900;
				debug.trace = true;
				debug.breakAt = [ "network" ];
				failTimeout = 0;
				watchdog = "60,keep";
				squashfs.compression = "zstd:3";
				extraFiles."/etc/motd" = "/motd";
			};
			fileSystems."/later" = { device = "/dev/sdb1"; fsType = "ext4"; };
		}`)
		if len(e.Failed) > 0 {
			t.Errorf("assertions: %q", e.Failed)
		}
		expectAll(t, "files", e.texts,
			"cmdline: rootfs=https://a.example/x.squashfs\nrootfs=http://b.example/x.squashfs?a=b\nrootfs.manifest=nix-store.squashfs.manifest\nrootfs.manifest.name=web\nrootfs.manifest.keys=http://a/keys\nrootfs.manifest.keys=http://b/keys\nrootfs.manifest.newer=2026-11-23\n",
			"ifname=lan0:52:54:00:ab:cd:ef\nip=192.0.2.10::192.0.2.1:24::lan0:none\nip=[2001:db8::2]::[2001:db8::1]:64::lan1:none\nnameserver=192.0.2.1\nboot.network=keep\nboot.network_timeout=900\nboot.watchdog=60,keep\nboot.shell_on_fail\nboot.trace\nboot.break=network\nboot.dhcp.hostname=nixos\nboot.fail_timeout=0\n",
			`"manifest":2,"rollback":"required","shell":"never","signatures":2,"verify":"required"`,
			"key.pub: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script),
			"--module igb", "--file /keys/ops.pub:/etc/netstage/trusted.d/2.pub", "/etc/netstage/trusted.d/1.pub",
			"--file /motd:/etc/motd", "--file /cacert/etc/ssl/certs/ca-bundle.crt:/etc/ssl/certs/ca-certificates.crt", "!roothash", "!init=")
		expectAll(t, "tree", plainQuotes.Replace(e.Outputs["netstageTree"].Script), "echo rootfs.manifest=nix-store.squashfs.manifest", "!init=", "!roothash")
		expectAll(t, "image", plainQuotes.Replace(e.Outputs["netstageImage"].Script), "--compression zstd:3")

		e = evaluate(t, lib, `{ boot.netstage = { enable = true; trustedKeys = [ "/ops.pub" ]; manifest = [ "http://a/m" "http://b/m" ]; }; }`)
		expectAll(t, "tree", plainQuotes.Replace(e.Outputs["netstageTree"].Script), "echo rootfs.manifest=http://a/m rootfs.manifest=http://b/m\n")
		expectAll(t, "files", e.texts, "cmdline: rootfs.manifest=http://a/m\nrootfs.manifest=http://b/m\n")

		e = evaluate(t, lib, `{ boot.netstage = { enable = true; trustedKeys = [ "/ops.pub" ]; rootfs = [ "oci://r/web:1" "oci://s/web:1" ]; }; }`)
		expectAll(t, "tree", plainQuotes.Replace(e.Outputs["netstageTree"].Script), "echo rootfs=oci://r/web:1 rootfs=oci://s/web:1\n")
		expectAll(t, "files", e.texts, "cmdline: rootfs=oci://r/web:1\nrootfs=oci://s/web:1\nboot.dhcp", "!rootfs.manifest")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "/cacert/etc/ssl/certs/ca-bundle.crt")
		for settings, packed := range map[string]string{
			`report = "https://boot.example/reports";`: "", `trustedKeys = [ "/ops.pub" ]; manifest = [ "HTTPS://a/m" ];`: "", `parameters = [ "rootfs.proxy=https://p" ];`: "",
			`rootfs = [ "oci+http://r/web" ];`: "!", `rootfs = [ "http://a/x?u=https://b" ];`: "!",
		} {
			e = evaluate(t, lib, "{ boot.netstage = { enable = true; "+settings+" }; }")
			expectAll(t, settings, plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), packed+"/cacert/etc/ssl/certs/ca-bundle.crt")
		}

		e = evaluate(t, lib, `{ boot.netstage = { enable = true; rootfs = [ "http://a/x" ]; modules = [ "nvme" "-bonding" ]; caCertificates = [ "/own.pem" ]; authorizedFallbackShell = true; firmware = "/firmware"; pin = false; }; }`)
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script),
			"--module +nvme --module -bonding", "cat /own.pem >ca.pem", "--firmware /firmware/lib/firmware", "!roothash")
		expectAll(t, "tree", plainQuotes.Replace(e.Outputs["netstageTree"].Script), "echo rootfs=http://a/x\n", "echo rootfs.roothash=$(cat ")
		expectAll(t, "files", e.texts, "boot.shell_on_fail", `"verify":"warn"`)
	})
}

// File systems that are needed before stage 2 go into the agent's table, with
// what mounting and checking them takes.
func TestModuleFileSystems(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{
			boot.netstage.enable = true;
			fileSystems."/persist" = { device = "/dev/disk/by-label/persist"; fsType = "ext4"; neededForBoot = true; options = [ "noatime" "x-systemd.device-timeout=90s" ]; };
			fileSystems."/var/lib" = { device = "/persist/var lib"; fsType = "none"; options = [ "bind" ]; };
			fileSystems."/etc" = { label = "config"; device = null; fsType = "vfat"; noCheck = true; };
			fileSystems."/var" = { device = "/dev/disk/by-id/nvme-x-part1"; fsType = "xfs"; };
			fileSystems."/usr" = { device = "tmpfs"; fsType = "tmpfs"; };
			fileSystems."/host" = { device = "host"; fsType = "9p"; neededForBoot = true; options = [ "trans=virtio" ]; };
			fileSystems."/share" = { device = "share"; fsType = "virtiofs"; options = [ "x-initrd.mount" ]; };
			fileSystems."/merged" = { device = "overlay"; fsType = "overlay"; neededForBoot = true; options = [ "lowerdir=/sysroot/a:/sysroot/b" "upperdir=/sysroot/persist/u" "workdir=/sysroot/persist/w" ]; };
			fileSystems."/later" = { device = "/dev/mapper/vg-x"; fsType = "xfs"; };
			fileSystems."/shared" = { device = "//192.0.2.1/x"; fsType = "cifs"; neededForBoot = true; options = [ "guest" ]; };
		}`)
		if len(e.Failed) > 0 {
			t.Errorf("assertions: %q", e.Failed)
		}
		expectAll(t, "fstab", e.texts, "/dev/disk/by-label/persist /persist ext4 x-initrd.mount,noatime,x-systemd.device-timeout=90s 0 2\n",
			`/persist/var\040lib /var/lib none x-initrd.mount,bind 0 0`, "/dev/disk/by-label/config /etc vfat ", " /usr tmpfs ", "//192.0.2.1/x /shared cifs ", "host /host 9p ", "share /share virtiofs ",
			"lowerdir=/a:/b,upperdir=/persist/u,workdir=/persist/w 0 0\n", "!/later", "!/nix/", "!sysroot")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), ":/etc/netstage/fstab", "--disks", "--filesystem ext4", "--filesystem vfat", "--filesystem 9p --", "--filesystem virtiofs", "--module ?9pnet_virtio",
			"--program /e2fsprogs/bin/e2fsck:/sbin/e2fsck", "!dosfstools", "!--filesystem none", "!--filesystem tmpfs")
		e = evaluate(t, lib, "{ boot.netstage.enable = true; }")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "!fstab", "!--disks", "!--filesystem")
	})
}

// Who may have a shell, and who hears of a boot.
func TestModuleOperators(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{ boot.netstage = {
			enable = true;
			allNetworkDrivers = false;
			modules = [ "igb" ];
			policy.shell = "password";
			shellPasswordHash = "$6$salt$hash";
			ssh.authorizedKeys = [ "ssh-ed25519 AAAA ops" "ssh-ed25519 BBBB night" ];
			ssh.hostKey = "/nix/store/x-host";
			rootfs = [ "oci://registry.example:5000/web:stable" ];
			registryCredentials = "/nix/store/x-registry.json";
			verityMount = true;
			stream.enable = true;
			report = "http://192.0.2.1:8080/reports";
			log = "udp://192.0.2.1:514";
		}; }`)
		if len(e.Failed) > 0 {
			t.Errorf("assertions: %q", e.Failed)
		}
		expectAll(t, "files", e.texts, "shell-password: $6$salt$hash\n", "authorized_keys: ssh-ed25519 AAAA ops\nssh-ed25519 BBBB night\n", `"shell":"password"`,
			"cmdline: rootfs=oci://registry.example:5000/web:stable\nboot.ssh\nrootfs.verity.mount\nrootfs.stream\nboot.report=http://192.0.2.1:8080/reports\nboot.log=udp://192.0.2.1:514\n")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "--init /package/bin/stage1 ", ":/etc/netstage/shell-password",
			":/etc/netstage/authorized_keys", "/nix/store/x-host:/etc/netstage/ssh_host_ed25519_key", "--file /nix/store/x-registry.json:/etc/netstage/registry.json", "--module +dm_verity", "--module +nbd")
	})
}

// An image of the other format, also where netboot.nix lays out its own.
func TestModuleErofs(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		for name, more := range map[string]string{
			"alone": "",
			"beside netboot.nix": `imports = [ ({ lib, ... }: { options.netboot = lib.mkOption { default = { }; }; options.image.baseName = lib.mkOption { default = "x"; };
				config.fileSystems = lib.mapAttrs (_: lib.mkImageMediaOverride) {
					"/" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "mode=0755" ]; };
					"/nix/.rw-store" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "mode=0755" ]; };
					"/nix/.ro-store" = { device = "../nix-store.squashfs"; fsType = "squashfs"; options = [ "loop" "threads=multi" ]; neededForBoot = true; };
					"/nix/store" = { device = "overlay"; fsType = "overlay"; options = [ "lowerdir=/nix/.ro-store" "upperdir=/nix/.rw-store/store" "workdir=/nix/.rw-store/work" ]; };
				}; }) ];`,
		} {
			e := evaluate(t, lib, `{ boot.netstage = { enable = true; format = "erofs"; rootfs = [ "http://a/x" ]; }; `+more+` }`)
			fs := e.FileSystems["/nix/.ro-store"]
			options := slices.DeleteFunc(fs.Options, func(o string) bool { return strings.HasPrefix(o, "x-") })
			if got := fs.Device + " " + fs.FsType + " " + strings.Join(options, " "); got != "../nix-store.erofs erofs loop" || len(e.Failed) > 0 {
				t.Errorf("%s: %q, %q", name, got, e.Failed)
			}
			for output, wants := range map[string][]string{
				"netstageImage":           {"--format erofs --compression lz4hc:9", "-o $out/nix-store.erofs\n"},
				"netstageRamdisk":         {"/nix-store.erofs.roothash)"},
				"netstageAllInOneRamdisk": {"--format erofs --compression lz4hc:9", "--all-in-one"},
				"netstageTree":            {"/nix-store.erofs.roothash)"},
			} {
				expectAll(t, name+": "+output, plainQuotes.Replace(e.Outputs[output].Script), append(wants, "!squashfs")...)
			}
		}
		e := evaluate(t, lib, `{ boot.netstage = { enable = true; format = "erofs"; erofs.compression = "lz4"; trustedKeys = [ "/ops.pub" ]; }; }`)
		expectAll(t, "image", plainQuotes.Replace(e.Outputs["netstageImage"].Script), "--compression lz4 ")
		expectAll(t, "files", e.texts, "rootfs.manifest=nix-store.erofs.manifest\n")
		e = evaluate(t, lib, `{ lib, ... }: { boot.netstage = { enable = true; format = "erofs"; erofs.compression = "zstd:19"; }; boot.kernelPackages = lib.mkForce { kernel = { version = "6.6.1"; modDirVersion = "6.6.1"; }; }; }`)
		if !strings.Contains(strings.Join(e.Failed, "\n"), `takes Linux 6.10, and the kernel is 6.6.1`) {
			t.Errorf("zstd with an old kernel: %q", e.Failed)
		}
	})
}

// What is kept for later boots, and who may boot it.
func TestModuleCaches(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{ boot.netstage = {
			enable = true;
			cache = "http://cache:8080/";
			cacheDisk.device = "LABEL=cache";
			cacheDisk.fsType = "xfs";
			policy.offlineDays = 3;
		}; }`)
		if len(e.Failed) > 0 {
			t.Errorf("assertions: %q", e.Failed)
		}
		expectAll(t, "files", e.texts, "rootfs.cache=http://cache:8080/\nrootfs.cache.disk=LABEL=cache\n", `"offline":"last-good"`, `"offline_days":3`)
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "--disks --filesystem xfs")
		if !slices.Contains(e.Services, "netstage-keep") {
			t.Errorf("services %q", e.Services)
		}
		for options, want := range map[string]string{
			`cacheDisk.device = "LABEL=x"; pin = false;`: "boot.netstage.cacheDisk needs something that vouches",
			`policy.offlineDays = 3;`:                    "boot.netstage.policy.offlineDays is of images",
		} {
			if e := evaluate(t, lib, `{ boot.netstage = { enable = true; `+options+` }; }`); !strings.Contains(strings.Join(e.Failed, "\n"), want) {
				t.Errorf("%s: %q", options, e.Failed)
			}
		}
	})
}

// Who may have a shell where the configuration does not say: not whoever writes
// the command line of a machine that verifies what it boots.
func TestModuleShells(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		for options, want := range map[string]string{
			``:                         "never",
			`trustedKeys = [ "RWQ" ];`: "never",
			`pin = false;`:             "cmdline",
			`pin = false; policy.verify = "required";`:      "never",
			`shellPasswordHash = "$6$salt$hash";`:           "password",
			`ssh.authorizedKeys = [ "ssh-ed25519 A ops" ];`: "cmdline",
			`authorizedFallbackShell = true;`:               "cmdline",
			`debug.breakAt = [ "network" ];`:                "cmdline",
			`policy.shell = "cmdline";`:                     "cmdline",
		} {
			e := evaluate(t, lib, `{ boot.netstage = { enable = true; `+options+` }; }`)
			expectAll(t, options, e.texts, `"shell":"`+want+`"`)
		}
	})
}

// What can't boot this way is told, each by its own message.
func TestModuleAssertions(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		for settings, want := range map[string]string{
			"boot.initrd.enable = true;": "leave boot.initrd.enable at false",
			`fileSystems."/var" = { device = "/dev/disk/by-id/ata-x"; fsType = "xfs"; };`:                                  "or by-id where that is wwn-, nvme- or virtio-; mount in stage 2",
			`fileSystems."/nix" = { device = "/dev/sda1"; fsType = "ext4"; };`:                                             "has its image at /nix/store, which a file system above or below it would hide: /nix (/dev/sda1)",
			`fileSystems."/nix/store/x" = { device = "/dev/sda1"; fsType = "ext4"; neededForBoot = true; };`:               "would hide: /nix/store/x",
			`fileSystems."/var" = { device = "/dev/sda1"; fsType = "ext4"; autoFormat = true; };`:                          "makes no file systems in stage 1 (autoFormat): /var",
			`fileSystems."/var" = { device = "/dev/vg0/var"; fsType = "ext4"; };`:                                          "assembles no LVM",
			`fileSystems."/var" = { device = "/dev/dm-3"; fsType = "ext4"; };`:                                             "/var (/dev/dm-3)",
			`fileSystems."/var" = { device = "/dev/bcache0"; fsType = "ext4"; };`:                                          "/var (/dev/bcache0)",
			`fileSystems."/var" = { device = "/dev/zd16"; fsType = "ext4"; };`:                                             "/var (/dev/zd16)",
			`fileSystems."/var" = { device = "//192.0.2.1/x"; fsType = "cifs"; options = [ "credentials=/c" ]; };`:         "/var (//192.0.2.1/x)",
			`fileSystems."/var" = { device = "//srv/x"; fsType = "cifs"; };`:                                               "/var (//srv/x)",
			`fileSystems."/var" = { device = "a:b"; fsType = "fuse.mergerfs"; };`:                                          "no program that mounts (FUSE, NFS, CIFS by a name or with credentials=)",
			`imports = [ ({ lib, ... }: { fileSystems."/" = lib.mkForce { device = "/dev/sda1"; fsType = "ext4"; }; }) ];`: "lays out / itself, and something overrides it (mkForce?): / is ext4",
			`boot.netstage.ssh.hostKey = "/keys/host";`:                                                                    "/etc/netstage/ssh_host_ed25519_key can only go into a second archive",
			`boot.netstage.registryCredentials = "/run/secrets/r.json";`:                                                   "/etc/netstage/registry.json can only go into a second archive",
			`boot.initrd.secrets."/etc/x" = "/etc/secret";`:                                                                "/etc/x can only go into a second archive",
			`boot.initrd.luks.devices.root = { };`:                                                                         "no LUKS devices: root",
			`fileSystems."/" = { device = "tank/root"; fsType = "zfs"; };`:                                                 `remove the zfs "/"`,
			`fileSystems."/data" = { device = "tank/data"; fsType = "zfs"; neededForBoot = true; };`:                       "mount in stage 2 (neededForBoot = false, and not below /etc, /usr or /var, which NixOS needs earlier): /data (tank/data)",
			`fileSystems."/persist" = { device = "/dev/mapper/vg-p"; fsType = "ext4"; neededForBoot = true; };`:            "assembles no LVM",
			`boot.netstage = { stream.enable = true; pin = false; };`:                                                      "boot.netstage.stream needs something that vouches for every block",
			`boot.netstage.policy.shell = "password";`:                                                                     "needs boot.netstage.shellPasswordHash",
			`boot.netstage = { policy.shell = "never"; ssh.authorizedKeys = [ "ssh-ed25519 A" ]; };`:                       "forbids boot.netstage.ssh",
			"boot.kernel.enable = false;":                                                                                  "leave boot.kernel.enable at true",
			`boot.netstage.manifestName = "web";`:                                                                          "set boot.netstage.trustedKeys",
			`boot.netstage = { trustedKeys = [ "/ops.pub" ]; policy.signatures = 2; };`:                                    "wants more keys to sign",
			"boot.netstage.allNetworkDrivers = false;":                                                                     "network driver in boot.netstage.modules",
			`boot.netstage.pin = true; boot.netstage.trustedKeys = [ "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0" ];`:     "a newly signed image would not boot",
		} {
			e := evaluate(t, lib, "{ boot.netstage.enable = true; "+settings+" }")
			if len(e.Failed) != 1 || !strings.Contains(e.Failed[0], want) {
				t.Errorf("%s: %q, want %q", settings, e.Failed, want)
			}
		}
	})
}

// The hash in the package is of what the modules are today.
func TestVendorHash(t *testing.T) {
	needNix(t)
	want, err := os.ReadFile("vendor-hash")
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command("./vendor-hash.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("vendor-hash is %swant %srun nix/vendor-hash.sh --update", want, got)
	}
}
