package nix

import (
	"slices"
	"strings"
	"testing"
)

// What nixpkgs' root says is replaced, and who wrote it hears of that; what a
// root in memory can't have besides is named, too, or switched off.
func TestWhatTheRootCantHaveIsNamed(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		const root = `has no effect. It is defined in /etc/nixos/web.nix. Mount disks elsewhere`
		for settings, want := range map[string]string{
			`fileSystems."/" = { device = "/dev/sda1"; fsType = "ext4"; };`:                                               root,
			`fileSystems."/" = { device = "/dev/sda1"; fsType = "btrfs"; options = [ "subvol=root" ]; };`:                 root,
			`fileSystems."/" = { device = "tmpfs"; fsType = "tmpfs"; options = [ "size=2G" "mode=755" ]; };`:              root,
			`fileSystems."/" = { _type = "override"; priority = 90; content = { device = "/dev/a"; fsType = "xfs"; }; };`: root,
			`fileSystems."/" = { device = "none"; fsType = "tmpfs"; options = [ "defaults" "mode=755" ]; };`:              "",
			`boot.growPartition = true;`: "which does not grow: boot.growPartition has no effect",
			`specialisation.new.configuration = { boot.kernelParams = [ ]; system.build.kernel = "/other"; };`:    "with the kernel of the image: new would have another one",
			`specialisation.debug.configuration = { boot.kernelParams = [ ]; system.build.kernel = "/kernel"; };`: "",
		} {
			e := evaluate(t, lib, `{ imports = [ { _file = "/etc/nixos/web.nix"; config = { boot.netstage.enable = true; `+settings+" }; } ]; }")
			if told := strings.Join(e.Warnings, "\n"); len(e.Failed) > 0 || !strings.Contains(told, want) || want == "" && told != "" {
				t.Errorf("%s: %q, %q", settings, e.Warnings, e.Failed)
			}
			if grows := slices.Contains(e.Services, "growpart"); grows != strings.Contains(settings, "growPartition") {
				t.Errorf("%s: growpart among what is set: %v", settings, e.Services)
			}
		}
	})
}

// A nixpkgs without scripted stage 1 has not its options, or has them to say
// so; no configuration has to change for that, and toplevels are systemd's.
func TestWithoutScriptedStage1(t *testing.T) {
	const scripted = `[ "systemd.enable" "checkJournalingFS" "extraFiles" "secrets" "allowMissingModules" "network.enable" "network.flushBeforeStage2"
		"network.udhcpc.extraArgs" "preLVMCommands" "postMountCommands" "extraUtilsCommands" "luks.devices" "stage1Greeting" ]`
	eachLib(t, func(t *testing.T, lib string) {
		if lib == "" {
			lib = "null"
		}
		for _, how := range []string{"gone", "removed"} {
			e, err := tryEvaluate(t, lib, `{ boot.netstage.enable = true; boot.initrd.kernelModules = [ "igb" ]; fileSystems."/var" = { device = "/dev/sda1"; fsType = "ext4"; }; }`,
				"--arg", how, scripted)
			if err != nil {
				t.Fatal(how, err)
			}
			if len(e.Failed)+len(e.Warnings) > 0 {
				t.Errorf("%s: %q, %q", how, e.Failed, e.Warnings)
			}
			expectAll(t, "builder", e.Builder, "cp /systemd/lib/systemd/systemd $out/init", "cp /stage-2-init $out/prepare-root")
			expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "igb", "e2fsck")
		}
	})
}

// The policy lists parameters one by one, also where a configuration gives
// several in one text, or one with spaces in it, and those of specialisations.
func TestPolicyListsKernelParams(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{ boot.netstage = { enable = true; parameters = [ "vlan=lan.7:lan" "rootfs.proxy=http://p:3128" ]; };
			boot.kernelParams = [ "console=tty0 console=ttyS0,115200" "" "dyndbg=\"file a.c +p\"" "quiet" "quiet" ];
			specialisation.debug.configuration = { boot.kernelParams = [ "slub_debug=FZ" ]; system.build.kernel = "/kernel"; }; }`)
		expectAll(t, "files", e.texts, `"loglevel=4"`, `"console=tty0","console=ttyS0,115200","dyndbg=\"file a.c +p\"","quiet"`, `,"slub_debug=FZ"],`,
			"vlan=lan.7:lan\nrootfs.proxy=http://p:3128\n")
		for _, settings := range []string{`boot.netstage.policy.cmdline = [ "a*b" ];`, `boot.netstage.policy.cmdline = [ "systemd.unit=x" "=" ];`, `boot.kernelParams = [ "*" ];`} {
			e := evaluate(t, lib, "{ boot.netstage.enable = true; "+settings+" }")
			if len(e.Failed) != 1 || !strings.Contains(e.Failed[0], "boot.netstage.policy.cmdline takes parameters") {
				t.Errorf("%s: %q", settings, e.Failed)
			}
		}
	})
}

// Keys that nixpkgs packs for its own ssh in the initrd are not packed for
// nothing: it has no effect.
func TestKeysOfWhatHasNoEffectAreNotPacked(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		e := evaluate(t, lib, `{ boot.netstage.enable = true; imports = [
			{ _file = "/nixpkgs/nixos/modules/system/boot/initrd-ssh.nix"; config.boot.initrd.secrets."/etc/ssh/key" = "/var/key"; }
			{ _file = "/etc/nixos/web.nix"; config.boot.initrd.secrets."/etc/token" = "/nix/store/x-token"; }
		]; }`)
		expectAll(t, "initrd", plainQuotes.Replace(e.Outputs["netstageRamdisk"].Script), "--file /nix/store/x-token:/etc/token", "!/etc/ssh/key")
		if len(e.Failed)+len(e.Warnings) > 0 {
			t.Errorf("%q, %q", e.Failed, e.Warnings)
		}
	})
}

// Of the tmpfiles of systemd stage 1, what mounting does not do is named.
func TestTmpfilesOfTheInitrd(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		const binds = `boot.initrd.systemd.mounts = [ { where = "/sysroot/var/lib/x"; what = "/sysroot/persist/var/lib/x"; options = "bind"; } ];`
		for rule, named := range map[string]bool{
			`"/sysroot/persist/var/lib/x".d = { user = "root"; group = "root"; mode = "0700"; }`: false,
			`"/sysroot/var/lib/x".d = { user = "x"; mode = "0700"; }`:                            false, // covered by the mount
			`"/sysroot/var/lib".d = { user = "root"; mode = "0755"; }`:                           false, // made on the way
			`"/sysroot/persist/var".d = { age = "-"; argument = ""; }`:                           false,
			`"/sysroot/persist/var/lib/x".d = { user = "x"; }`:                                   true,
			`"/sysroot/persist/var".d = { mode = "0700"; }`:                                      true,
			`"/sysroot/persist/var/lib/x".f.argument = "text"`:                                   true,
			`"/sysroot/srv".d = { }`:                                                             true,
			`"/sysroot/persist/var/lib/x".L.argument = "/y"`:                                     true,
			`"/run/x".w.argument = "y"`:                                                          true,
		} {
			e := evaluate(t, lib, "{ boot.netstage.enable = true; "+binds+" boot.initrd.systemd.tmpfiles.settings.some."+rule+"; }")
			if told := strings.Contains(strings.Join(e.Warnings, "\n"), "boot.initrd.systemd.tmpfiles.settings has no effect"); told != named || len(e.Failed) > 0 {
				t.Errorf("%s: %q, %q", rule, e.Warnings, e.Failed)
			}
		}
	})
}
