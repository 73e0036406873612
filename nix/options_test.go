package nix

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// settingOf gives every row of stage1-options.nix a value that has an effect in
// NixOS's own stage 1.
var settingOf = map[string]string{
	"boot.initrd.preLVMCommands": `"x"`, "boot.initrd.preDeviceCommands": `"x"`, "boot.initrd.postDeviceCommands": `"x"`,
	"boot.initrd.postResumeCommands": `"x"`, "boot.initrd.postMountCommands": `"x"`, "boot.initrd.preFailCommands": `"x"`,
	"boot.initrd.extraUtilsCommands": `"x"`, "boot.initrd.extraUtilsCommandsTest": `"x"`, "boot.initrd.extraUdevRulesCommands": `"x"`,
	"boot.initrd.network.postCommands": `"x"`, "boot.initrd.network.udhcpc.extraArgs": `[ "-x" ]`, "boot.initrd.network.ifstate.enable": "true",
	"boot.initrd.network.ifstate.settings": "{ a = 1; }", "boot.initrd.network.ssh.enable": "true", "boot.initrd.network.openvpn.enable": "true",
	"boot.initrd.services.udev.rules": `"x"`, "boot.initrd.services.udev.packages": `[ "x" ]`, "boot.initrd.services.udev.binPackages": `[ "x" ]`,
	"boot.initrd.services.resolved.enable": "true", "boot.initrd.services.lvm.enable": "true", "boot.initrd.services.bcache.enable": "true", "boot.initrd.services.swraid.enable": "true",
	"boot.initrd.systemd.network.networks": "{ a = 1; }", "boot.initrd.systemd.network.netdevs": "{ a = 1; }", "boot.initrd.systemd.network.links": "{ a = 1; }",
	"boot.initrd.systemd.network.config": "{ a = 1; }", "boot.initrd.systemd.network.units": "{ a = 1; }",
	"boot.initrd.systemd.units": "{ a = 1; }", "boot.initrd.systemd.targets": "{ initrd-preservation = 1; a = 1; }", "boot.initrd.systemd.sockets": "{ a = 1; }", "boot.initrd.systemd.timers": "{ a = 1; }",
	"boot.initrd.systemd.paths": "{ a = 1; }", "boot.initrd.systemd.slices": "{ a = 1; }", "boot.initrd.systemd.automounts": "[ { } ]",
	"boot.initrd.systemd.packages": `[ "x" ]`, "boot.initrd.systemd.contents": "{ a = 1; }", "boot.initrd.systemd.storePaths": `[ "x" ]`, "boot.initrd.systemd.extraBin": "{ a = 1; }",
	"boot.initrd.systemd.initrdBin": `[ "x" ]`, "boot.initrd.systemd.users": "{ a = 1; }", "boot.initrd.systemd.groups": "{ a = 1; }",
	"boot.initrd.systemd.settings.Manager": "{ a = 1; }", "boot.initrd.systemd.managerEnvironment": "{ a = 1; }", "boot.initrd.systemd.additionalUpstreamUnits": `[ "x" ]`,
	"boot.initrd.systemd.root": `"gpt-auto"`, "boot.initrd.systemd.services": "{ restore-state-from-initrd = 1; a = 1; }",
	"boot.initrd.systemd.mounts":            `[ { what = "/dev/sdb"; where = "/sysroot/x"; } ]`,
	"boot.initrd.systemd.tmpfiles.settings": `{ x."/run/y".w.argument = "z"; }`,
	"boot.initrd.systemd.emergencyAccess":   "true", "boot.initrd.systemd.dmVerity.enable": "true", "boot.initrd.nix-store-veritysetup.enable": "true",
	"boot.initrd.systemd.repart.enable": "true", "services.multipath.enable": "true",
	"boot.iscsi-initiator.discoverPortal": `"192.0.2.1"`, "boot.iscsi-initiator.target": `"iqn.x"`,
	"boot.initrd.systemd.dbus.enable": "true", "boot.initrd.systemd.tpm2.pcrphases.enable": "true", "boot.initrd.systemd.network.wait-online.extraArgs": `[ "--any" ]`,
	"boot.initrd.clevisLuksAskpass.enable": "true", "boot.growPartition": "true", "console.earlySetup": "true",
	"boot.initrd.clevis.devices": "{ a = 1; }", "boot.initrd.clevis.enable": "true", "boot.initrd.unl0kr.enable": "true", "boot.initrd.luks.forceLuksSupportInInitrd": "true",
	"boot.resumeDevice": `"/dev/sda2"`, "boot.crashDump.enable": "true", "boot.initrd.compressor": `"xz"`, "boot.initrd.compressorArgs": `[ "-9" ]`,
	"boot.plymouth.enable": "true", "boot.initrd.stage1Greeting": `"hello"`, "boot.initrd.osRelease": `"/other"`,
}

type row struct {
	Name   string
	Refuse bool
}

// rows are those of stage1-options.nix.
func rows(t *testing.T) []row {
	t.Helper()
	out, err := exec.Command("nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json", "-E",
		`let lib = import ./testdata/stub-lib.nix; in map (r: { Name = r.name; Refuse = r.refuse; })
			(import ./stage1-options.nix { inherit lib; options = { }; modulesPath = "/"; bindInRoot = _: false; notMade = _: _: false; }).rows`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	if err := json.Unmarshal(out, &all); err != nil || len(all) == 0 {
		t.Fatal(err, len(all))
	}
	return all
}

// What NixOS's own stage 1 does by an option and netstage does not is named,
// with where that is defined; what nixpkgs sets by itself is not.
func TestEveryOptionOfStage1IsNamed(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		all := rows(t)
		if len(all) != len(settingOf) {
			t.Errorf("%d rows, and %d settings for them", len(all), len(settingOf))
		}
		set := "{ boot.netstage.enable = true; "
		for _, r := range all {
			if settingOf[r.Name] == "" {
				t.Errorf("no setting for %s", r.Name)
				continue
			}
			set += r.Name + " = " + settingOf[r.Name] + "; "
		}
		e := evaluate(t, lib, `{ imports = [ { _file = "/etc/nixos/web.nix"; config = `+set+"}; } ]; }")
		for _, r := range all {
			says, other := e.Warnings, e.Failed
			if r.Refuse {
				says, other = other, says
			}
			want := ": " + r.Name + " has no effect. It is defined in /etc/nixos/web.nix."
			if !strings.Contains(strings.Join(says, "\n"), want) || strings.Contains(strings.Join(other, "\n"), want) {
				t.Errorf("%s (refuse %v) is in none or in the other of %d warnings and %d that failed", r.Name, r.Refuse, len(e.Warnings), len(e.Failed))
			}
		}
		if got := len(e.Warnings) + len(e.Failed); got != len(all) {
			t.Errorf("%d messages for %d options", got, len(all))
		}
		e = evaluate(t, lib, `{ imports = [ { _file = "/nixpkgs/nixos/modules/tasks/lvm.nix"; config = `+set+"}; } ]; }")
		if len(e.Warnings)+len(e.Failed) > 0 {
			t.Errorf("by nixpkgs itself: %q %q", e.Warnings, e.Failed)
		}
	})
}

// firstColumn are the names in the first column of the tables of docs/nixos.md
// between two texts.
func firstColumn(t *testing.T, from, to string) []string {
	t.Helper()
	doc, err := os.ReadFile("../docs/nixos.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(doc), from)
	part, _, ended := strings.Cut(part, to)
	if !found || !ended {
		t.Fatalf("docs/nixos.md has no part from %q to %q", from, to)
	}
	var names []string
	for line := range strings.SplitSeq(part, "\n") {
		if cell, is := strings.CutPrefix(line, "| "); is {
			cell, _, _ = strings.Cut(cell, " | ")
			for i, name := range strings.Split(cell, "`") {
				if i%2 == 1 {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// The documentation has the tables of the module, and nothing besides.
func TestTablesOfOptions(t *testing.T) {
	needNix(t)
	var warned, refused []string
	for _, r := range rows(t) {
		if r.Refuse {
			refused = append(refused, r.Name)
		} else {
			warned = append(warned, r.Name)
		}
	}
	named := func(from, to string) []string {
		return slices.DeleteFunc(firstColumn(t, from, to), func(name string) bool {
			// Values, and what module.nix refuses by other means.
			return !strings.Contains(name, ".") || slices.Contains([]string{"boot.initrd.enable", "boot.initrd.luks.devices"}, name)
		})
	}
	for _, c := range []struct {
		what        string
		given, told []string
	}{
		{"named in a warning", warned, named("Named in a warning:", "Of no effect by themselves")},
		{"refused", refused, named("\nRefused:", "Named in a warning:")},
		{"options of boot.netstage", evaluate(t, "", "{ boot.netstage.enable = true; }").Own, ownOptions(t)},
	} {
		slices.Sort(c.given)
		if !slices.Equal(c.given, c.told) {
			t.Errorf("%s: docs/nixos.md has\n%q\nand the module\n%q", c.what, c.told, c.given)
		}
	}
}

// ownOptions are those of boot.netstage in the documentation.
func ownOptions(t *testing.T) []string {
	names := firstColumn(t, "All below `boot.netstage`:", "File systems that are needed before stage 2")
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, ".NAME")
	}
	return names
}

// What NixOS's own stage 1 does by an option and netstage does as well.
func TestOptionsOfStage1ThatAreKept(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{
			boot.netstage.enable = true;
			boot.initrd = {
				prepend = [ "/amd-ucode.img" "/acpi.cpio" ];
				availableKernelModules = [ "nvme" ];
				kernelModules = [ "i2c_i801" ];
				extraFirmwarePaths = [ "my/fw.bin" ];
				extraFiles."/etc/motd".source = "/motd";
				secrets."/etc/token" = "/nix/store/x-token";
				network.enable = true;
				network.flushBeforeStage2 = false;
				checkJournalingFS = false;
				systemd.services.restore-state-from-initrd = { };
				systemd.mounts = [
					{ where = "/sysroot/var/log/audit"; what = "/sysroot/persist/var/log/audit"; options = "bind,x-gvfs-hide"; }
					{ where = "/sysroot/etc/machine-id"; what = "/sysroot/persist/etc/machine-id"; options = "bind"; }
					{ where = "/sysroot/var"; what = "/sysroot/persist/var"; options = "bind"; }
				];
				systemd.tmpfiles.settings.preservation."/sysroot/persist/etc/machine-id".f.mode = "0444";
				systemd.tmpfiles.settings.preservation."/sysroot/persist/var".d = { user = "root"; mode = "0711"; };
			};
			console.keyMap = "de";
			boot.netstage.policy.shell = "cmdline";
			hardware.firmware = "/firmware";
			networking.hostId = "8425e349";
			networking.hostName = "web1";
			environment.etc."modprobe.d/ubuntu.conf".source = "/ubuntu";
			fileSystems."/var" = { device = "/dev/sda1"; fsType = "ext4"; };
		}`)
		if len(e.Failed)+len(e.Warnings) > 0 {
			t.Errorf("failed %q, warnings %q", e.Failed, e.Warnings)
		}
		ramdisk := plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script)
		expectAll(t, "initrd", ramdisk, "--prepend /amd-ucode.img --prepend /acpi.cpio", "--module +i2c_i801", "--module ?nvme", "--firmware-file my/fw.bin",
			"--file /motd:/etc/motd", "--file /nix/store/x-token:/etc/token", ":/etc/modules-load.d/nixos.conf", "/ubuntu:/etc/modprobe.d/ubuntu.conf", "/modprobe-nixos:/etc/modprobe.d/nixos.conf",
			"loadkeys -b -u de >keymap", "$PWD/keymap:/etc/netstage/keymap", `printf \x49\xe3\x25\x84 >hostid`, "$PWD/hostid:/etc/hostid", "!e2fsck")
		expectAll(t, "files", e.texts, "modules-load: i2c_i801\n", "boot.network=keep\n", "boot.dhcp.hostname=web1\n",
			"/dev/sda1 /var ext4 x-initrd.mount 0 0\n/persist/var /var none bind,x-netstage.mode=0711 0 0\n/persist/etc/machine-id /etc/machine-id none bind,x-netstage.file,x-netstage.mode=0444 0 0\n/persist/var/log/audit /var/log/audit none bind,x-gvfs-hide 0 0\n")
		e = evaluate(t, lib, `{ boot.netstage = { enable = true; policy.shell = "never"; }; console.keyMap = "de"; boot.initrd.kernelModules = [ "x" ]; boot.initrd.allowMissingModules = true; }`)
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "!keymap", "--module ?x")
	})
}

// Toplevels of systemd stage 1, and those of the scripted one.
func TestModuleToplevels(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{ boot.netstage.enable = true; system.etc.overlay = { enable = true; mutable = false; }; }`)
		expectAll(t, "builder", e.Builder, "cp /systemd/lib/systemd/systemd $out/init", "cp /stage-2-init $out/prepare-root")
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "--module ?erofs")
		if e.Bootspec["org.netstage.v1"]["etc_mutable"] != false || e.Systemd != "/run/current-system/systemd/lib/systemd/systemd" {
			t.Errorf("boot.json has %v, stage 2 starts %s", e.Bootspec, e.Systemd)
		}
		e = evaluate(t, lib, `{ boot.netstage.enable = true; system.nixos-init.enable = true; environment.shell.enable = false; nix.enable = false; }`)
		expectAll(t, "builder", e.Builder, "cp /systemd/lib/systemd/systemd $out/init", "!prepare-root")
		if slices.Contains(e.Services, "netstage-live-password") {
			t.Error("a system without a shell gets a script")
		}
		e = evaluate(t, lib, `{ boot.netstage.enable = true; boot.initrd.systemd.enable = false; }`)
		expectAll(t, "builder", e.Builder, "!init")
		expectAll(t, "systemd", e.texts, "start-systemd: ", "exec 9</run/netstage/systemd-state", "--switched-root --system --deserialize=9", `exec /run/current-system/systemd/lib/systemd/systemd "$@"`)
		if !strings.HasSuffix(e.Systemd, "-netstage-start-systemd") {
			t.Errorf("stage 2 starts %s", e.Systemd)
		}
		// Profiles of nixpkgs set it by mkDefault.
		evaluate(t, lib, `{ boot.netstage.enable = true; imports = [ ({ lib, ... }: { boot.initrd.systemd.enable = lib.mkDefault true; }) ]; }`)
	})
}

// Where something else boots the same configuration netstage is off.
func TestModuleIsOffElsewhere(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		for name, other := range map[string]string{
			"a virtual machine": `({ lib, ... }: { options.virtualisation.directBoot = lib.mkOption { default = { }; }; })`,
			"an ISO image":      `({ lib, ... }: { options.isoImage = lib.mkOption { default = { }; }; })`,
			"a container":       `{ boot.isContainer = true; }`,
			"a disk image":      `({ lib, ... }: { options.image.baseName = lib.mkOption { default = "x"; }; })`,
			"nixos-generators":  `({ lib, ... }: { options.formatAttr = lib.mkOption { default = "qcow"; }; })`,
		} {
			e := evaluate(t, lib, `{ boot.netstage.enable = true; boot.loader.grub.enable = false; imports = [ `+other+" ]; }")
			if e.Active || !e.Initrd || len(e.FileSystems)+len(e.Failed) > 0 {
				t.Errorf("%s: active %v, %+v", name, e.Active, e)
			}
		}
		e := evaluate(t, lib, `{ boot.netstage.enable = true; imports = [ ({ lib, ... }: { options.netboot = lib.mkOption { default = { }; }; options.image.baseName = lib.mkOption { default = "x"; };
			config.fileSystems = {
				"/" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "mode=0755" ]; };
				"/nix/.rw-store" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "mode=0755" ]; };
				"/nix/.ro-store" = { device = "../nix-store.squashfs"; fsType = "squashfs"; options = [ "loop" "threads=multi" ]; neededForBoot = true; };
				"/nix/store" = { device = "overlay"; fsType = "overlay"; options = [ "lowerdir=/sysroot/nix/.ro-store" "upperdir=/sysroot/nix/.rw-store/store" "workdir=/sysroot/nix/.rw-store/work" ]; };
			}; }) ]; }`)
		if !e.Active || len(e.Failed) > 0 {
			t.Errorf("netboot.nix: active %v, %q", e.Active, e.Failed)
		}
	})
}

// A module that is wrong is found without nixpkgs.
func TestStubIsStrict(t *testing.T) {
	needNix(t)
	for settings, want := range map[string]string{
		"boot.netstag.enable = true;":       "does not exist",
		"boot.netstage.failTimeout = true;": "is not of type",
		`boot.netstage.pin = "yes";`:        "is not of type",
		"imports = [ ({ lib, ... }: { boot.initrd.systemd.enable = lib.mkDefault true; }) ({ lib, ... }: { boot.initrd.systemd.enable = lib.mkDefault false; }) ];": "conflicting definition values",
		"boot.netstage.active = true;": "read-only",
	} {
		if _, err := tryEvaluate(t, "", "{ boot.netstage.enable = true; "+settings+" }"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
