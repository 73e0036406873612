package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netstage/mount"
	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
)

// initrd writes the files of an initrd, and the kernel command line.
func initrd(t *testing.T, line string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files["/proc/cmdline"] = line + "\n"
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// What is in the initrd says what its command line may hold: a row each.
func TestWhatTheCommandLineMayHold(t *testing.T) {
	const (
		policy = "/etc/netstage/policy.json"
		own    = OwnParameters
		key    = TrustedKeys + "/ops.pub"
		digest = "rootfs.sha256=0000000000000000000000000000000000000000000000000000000000000000"
		free   = "console=ttyS0 loglevel=4 mitigations=off rootfs=http://h/x ip=dhcp BOOTIF=01-52-54-00-00-00-01 initrd=initrd.zst"
	)
	for name, test := range map[string]struct {
		files   map[string]string
		line    string
		refused string // names; "" for none
	}{
		"nothing in the initrd":      {nil, free + " systemd.run=/bin/sh x.y=z", ""},
		"required":                   {map[string]string{policy: `{"version":1,"verify":"required"}`}, free, ""},
		"required, run":              {map[string]string{policy: `{"version":1,"verify":"required"}`}, free + " systemd.run=/bin/sh", "systemd.run"},
		"a key, several":             {map[string]string{key: "k"}, free + " systemd.unit=x rdinit=/bin/sh sysctl.kernel.modprobe=/x", "systemd.unit, rdinit, sysctl.kernel.modprobe"},
		"a key, dashes":              {map[string]string{key: "k"}, "systemd.debug-shell systemd.mount-extra=a:b systemd.set_credential=a:b", "systemd.debug-shell, systemd.mount-extra, systemd.set_credential"},
		"a pin, protections":         {map[string]string{own: digest}, "lsm= module.sig-enforce=0 selinux=0 apparmor=0 lockdown=none", "lsm, module.sig-enforce, selinux, apparmor, lockdown"},
		"a pin, a disk":              {map[string]string{own: digest}, "boot.persistence=/dev/sda boot.persistence.opt=dev", "boot.persistence, boot.persistence.opt"},
		"a pin, its own disk":        {map[string]string{own: digest + " boot.persistence=LABEL=x"}, "boot.persistence.opt=dev,suid", "boot.persistence.opt"},
		"a pin, the same again":      {map[string]string{own: digest + " a.b=c"}, digest + " a.b=c", ""},
		"a pin, another value":       {map[string]string{own: digest + " a.b=c"}, "a.b=d", "a.b"},
		"a pin, but any":             {map[string]string{own: digest, policy: `{"version":1,"cmdline":"any"}`}, "systemd.run=/bin/sh", ""},
		"listed by name":             {map[string]string{policy: `{"version":1,"cmdline":["live.nixos.password*","hugetlb_free_vmemmap"]}`}, free + " live.nixos.passwordHash=x hugetlb-free-vmemmap=on", ""},
		"listed with its value":      {map[string]string{policy: `{"version":1,"cmdline":["lsm=landlock,yama","dyndbg=\"file a +p\""]}`}, `lsm=landlock,yama dyndbg="file a +p"`, ""},
		"listed with another value":  {map[string]string{policy: `{"version":1,"cmdline":["lsm=landlock,yama","a=b*"]}`}, "lsm=landlock lsm a=bc", "lsm, lsm, a"},
		"own":                        {map[string]string{policy: `{"version":1,"cmdline":"own"}`, own: "console=ttyS0"}, "console=ttyS0 initrd=a BOOT_IMAGE=b BOOTIF=01-52-54-00-00-00-01", ""},
		"a key, the kernel's name":   {map[string]string{key: "k"}, "bzImage initrd=initrd", ""},
		"own, a program's name":      {map[string]string{policy: `{"version":1,"cmdline":"own"}`}, `\EFI\BOOT\BOOTX64.EFI`, ""},
		"a key, a version's name":    {map[string]string{key: "k"}, "vmlinuz-6.12.1", ""},
		"a key, a name further on":   {map[string]string{key: "k"}, "quiet boot.efi", "boot.efi"},
		"a key, no kernel's name":    {map[string]string{key: "k"}, "systemd.debug_shell initrd=initrd", "systemd.debug_shell"},
		"a key, a name with a value": {map[string]string{key: "k"}, "kernel.efi=1 kernel-x=y", "kernel.efi, kernel-x"},
		"own, more":                  {map[string]string{policy: `{"version":1,"cmdline":"own"}`, own: "console=ttyS0"}, "console=ttyS1 rootfs=http://h/x", "console, rootfs"},
		"no shell, a shell as init":  {map[string]string{policy: `{"version":1,"shell":"never"}`}, "init=/nix/store/x-nixos-system-y/init/../bin/bash", "init=/nix/store/x-nixos-system-y/init/../bin/bash"},
		"no shell, an init":          {map[string]string{policy: `{"version":1,"shell":"never"}`}, "init=/nix/store/x-nixos-system-y/init", ""},
		"no shell, a pinned program": {map[string]string{policy: `{"version":1,"shell":"never"}`, own: "init=/sbin/launch"}, "init=/sbin/launch", ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range test.files {
				files[file] = text
			}
			_, wrong := Load(initrd(t, test.line, files), nil)
			err := Complaint(wrong)
			if test.refused == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil || fault.ClassOf(err) != fault.Policy {
				t.Fatalf("%v, class %q; want policy", err, fault.ClassOf(err))
			}
			_, rest, _ := strings.Cut(err.Error(), "policy does not allow ")
			names, _, _ := strings.Cut(rest, ":")
			if names != test.refused && !strings.Contains(err.Error(), test.refused+": the initrd's policy allows no shell") {
				t.Errorf("refused %q, want %q: %v", names, test.refused, err)
			}
		})
	}
}

// What a manifest says of the command line: more where the initrd leaves it to
// the two, less where it leaves everything open, and never anything of the
// agent's own, which is heeded before the manifest is there.
func TestWhatAManifestAllows(t *testing.T) {
	const (
		policy = "/etc/netstage/policy.json"
		own    = "rootfs.manifest=http://h/m"
	)
	for name, test := range map[string]struct {
		rule, line string
		patterns   []string
		early      string // refused before the manifest
		late       string // and by it
	}{
		"own, allowed":               {`"own"`, "quiet systemd.unit=rescue.target", []string{"quiet", "systemd.unit=rescue.target"}, "", ""},
		"own, another value":         {`"own"`, "systemd.unit=emergency.target", []string{"systemd.unit=rescue.target"}, "", "systemd.unit"},
		"own, nothing said":          {`"own"`, "quiet", nil, "", "quiet"},
		"own, the agent's":           {`"own"`, "boot.shell_on_fail rd.route=x", []string{"boot.*", "rd.*"}, "boot.shell_on_fail, rd.route", ""},
		"own, what stage 2 runs":     {`"own"`, "systemd.run=/bin/sh", []string{"quiet"}, "", "systemd.run"},
		"listed, nothing said":       {`"listed"`, "quiet", nil, "", ""},
		"listed, more":               {`"listed"`, "systemd.unit=x", []string{"systemd.unit"}, "systemd.unit", ""},
		"any, nothing said":          {`"any"`, "systemd.run=/bin/sh", nil, "", ""},
		"any, not what was said":     {`"any"`, "systemd.run=/bin/sh quiet", []string{"systemd.unit"}, "", "systemd.run"},
		"any, what was said":         {`"any"`, "systemd.unit=x quiet", []string{"systemd.unit"}, "", ""},
		"any, not even the initrd's": {`"any"`, "boot.persistence=LABEL=x", []string{"quiet"}, "", "boot.persistence"},
		"a pattern that is none":     {`"own"`, "quiet", []string{"*"}, "", "cmdline \"*\""},
	} {
		t.Run(name, func(t *testing.T) {
			c, wrong := Load(initrd(t, test.line, map[string]string{policy: `{"version":1,"cmdline":` + test.rule + `}`, OwnParameters: own, TrustedKeys + "/ops.pub": "k"}), nil)
			if err := Complaint(wrong); (err == nil) != (test.early == "") || err != nil && !strings.Contains(err.Error(), "does not allow "+test.early+":") {
				t.Errorf("at first: %v, want %q refused", err, test.early)
			}
			if err := c.CheckCmdline(test.patterns); (err == nil) != (test.late == "") || err != nil && !strings.Contains(err.Error(), test.late) {
				t.Errorf("by the manifest: %v, want %q refused", err, test.late)
			}
		})
	}
	// Without a manifest to come nothing waits for one.
	_, wrong := Load(initrd(t, "quiet", map[string]string{policy: `{"version":1,"cmdline":"own"}`, OwnParameters: own}), nil)
	if err := Complaint(wrong); err == nil || !strings.Contains(err.Error(), "does not allow quiet:") {
		t.Error(err)
	}
}

// Whatever the agent reads is heeded, so that it waits for no manifest.
func TestWhatIsHeeded(t *testing.T) {
	for _, name := range parametersRead(t) {
		if name != "modprobe.blacklist" && !slices.ContainsFunc(heeds, func(pattern string) bool { return matches(pattern, cmdline.Param{Key: name}) }) {
			t.Errorf("%s is read, and not among heeds", name)
		}
	}
}

// No listed pattern lets through what runs something or takes a protection
// away.
func TestNothingListedRuns(t *testing.T) {
	rule := CmdlineRule{Kind: "listed"}
	for _, key := range strings.Fields(`systemd.run systemd.run_success_action systemd.unit systemd.wants systemd.debug_shell systemd.debug-shell
		systemd.default_debug_tty systemd.mount-extra systemd.swap-extra systemd.set_credential systemd.set_credential_binary systemd.import_credentials
		systemd.setenv systemd.mask systemd.volatile systemd.crash_shell systemd.confirm_spawn systemd.default_standard_output systemd.firstboot systemd.pull
		SYSTEMD_FSTAB rd.systemd.unit rd.break rdinit sysctl.kernel.core_pattern sysctl lsm security selinux enforcing apparmor ima_policy ima_appraise
		evm lockdown module.sig_enforce module_blacklist modprobe.blacklist modules-load rd.modules-load initcall_blacklist kgdboc kgdbwait
		usrhash mount.usr mount.usrfstype systemd.verity_root_data systemd.verity_root_hash boot.persistence boot.persistence.opt luks.uuid luks.key
		vconsole.keymap locale.LANG live.nixos.password live.nixos.passwordHash boot.kexec nokaslr dyndbg trace_event ftrace kprobe_event bootconfig
		efi memmap iomem mtdparts ubi.mtd nbd.url init_on_alloc slub_debug page_poison kmemleak memtest udev.exec_delay emergency rescue single 1 2 3 4 5`) {
		if rule.allows(cmdline.Param{Key: key}, nil) {
			t.Errorf("%s is let through", key)
		}
	}
	// Nor what has the kernel write where its sender wants.
	for word, want := range map[string]bool{
		"console=ttyS0,115200n8": true, "console=tty0": true, "console": true, "console=uart,mmio,0xfee00000": false, "console=uart8250,io,0x3f8": false,
		"console=pl011,mmio32,0x9000000": false, "earlycon": true, "earlycon=efifb": true, "earlycon=uart8250,mmio32,0x1000": false, "earlycon=0x1000": false,
		"earlyprintk=vga": true, "earlyprintk=ttyS0,115200,keep": true, "earlyprintk=efi,keep": true, "earlyprintk=serial,0x1000,9600": false,
		"earlyprintk=pciserial,0:1.0": false, "acpi=off": true, "acpi_rsdp=0x1000": false, "acpi-rsdp=0x1000": false,
	} {
		if got := rule.allows(cmdline.Parse(word)[0], nil); got != want {
			t.Errorf("%s is let through: %v, want %v", word, got, want)
		}
	}
}

// Of the agent's own parameters each is decided upon: a stranger may say it, or
// it is among those that the initrd alone may.
func TestEveryParameterIsDecidedUpon(t *testing.T) {
	rule := CmdlineRule{Kind: "listed"}
	own := []string{"rootfs.cache.disk", "boot.persistence", "boot.persistence.opt", "modprobe.blacklist", "team", "bridge"}
	for _, name := range parametersRead(t) {
		if got, want := rule.allows(cmdline.Param{Key: name}, nil), !slices.Contains(own, name); got != want {
			t.Errorf("a stranger may say %s: %v, want %v", name, got, want)
		}
	}
}

// What dm-verity does about a wrong block, the command line can only make
// stricter.
func TestVerityMountIsNotLoosened(t *testing.T) {
	for line, want := range map[string]string{
		"rootfs.verity.mount=restart": mount.PanicOnCorruption, "rootfs.verity.mount": mount.PanicOnCorruption, "": mount.PanicOnCorruption,
	} {
		c, wrong := combine(cmdline.Parse("rootfs.verity.mount=panic roothash="+strings.Repeat("0", 64)), cmdline.Parse(line), nil)
		if len(wrong) > 0 || c.OnCorruption != want {
			t.Errorf("%q after panic: %q, %v; want %q", line, c.OnCorruption, wrong, want)
		}
	}
}
