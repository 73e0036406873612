package config

import (
	"os"
	"path/filepath"
	"testing"

	"netstage/stage1/fault"
)

// initrdOf is a root folder with the files of an initrd and the command line.
func initrdOf(t *testing.T, own, line string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	all := map[string]string{"proc/cmdline": line}
	if own != "" {
		all["etc/netstage/cmdline"] = own
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// What may loosen what, a row each: whatever the command line says, it can't
// make the initrd's word weaker.
func TestWhatMayLoosen(t *testing.T) {
	// That any parameter is allowed is the weakest policy that there is.
	files := map[string]string{"etc/netstage/policy.json": `{"version": 1, "cmdline": "any"}`}
	for name, test := range map[string]struct {
		own, line string
		holds     func(Config) bool
	}{
		"init":                         {"init=/a/init", "init=/b/init", func(c Config) bool { return c.Init == "/a/init" }},
		"a digest":                     {"rootfs.sha256=" + emptySHA, "rootfs.sha256=", func(c Config) bool { return true }},
		"a panic on corruption":        {"rootfs.verity.mount=panic roothash=" + emptySHA, "rootfs.verity.mount=restart", func(c Config) bool { return c.OnCorruption == "panic_on_corruption" }},
		"dm-verity":                    {"rootfs.verity.mount roothash=" + emptySHA, "", func(c Config) bool { return c.MountVerity }},
		"a newer manifest":             {"rootfs.manifest.newer=2026-11-23", "rootfs.manifest.newer=2020-01-01", func(c Config) bool { return c.Newer.Year() == 2026 }},
		"the name of a manifest":       {"rootfs.manifest=http://h/m rootfs.manifest.name=web", "rootfs.manifest.name=db", func(c Config) bool { return c.Name == "web" }},
		"a list of keys":               {"rootfs.manifest=http://h/m rootfs.manifest.keys=http://h/k", "rootfs.manifest.keys=http://i/k", func(c Config) bool { return len(c.KeyLists) > 0 }},
		"authorities":                  {"rootfs.ca=/a.pem", "rootfs.ca=/b.pem", func(c Config) bool { return c.CA == "/a.pem" }},
		"a token":                      {"rootfs.token=/etc/netstage/a", "rootfs.token=/etc/netstage/b", func(c Config) bool { return c.Token == "/etc/netstage/a" }},
		"options of a disk":            {"boot.persistence=LABEL=a boot.persistence.opt=noexec", "boot.persistence.opt=exec", func(c Config) bool { return c.PersistenceOpt == "noexec" }},
		"a disk, the root hash pinned": {"roothash=" + emptySHA, "boot.persistence=LABEL=b", func(c Config) bool { return fault.ClassOf(c.MayPersist()) == fault.Policy }},
		"a disk, the init pinned":      {"init=/a/init", "boot.persistence=LABEL=b", func(c Config) bool { return fault.ClassOf(c.MayPersist()) == fault.Policy }},
		"its own disk":                 {"roothash=" + emptySHA + " boot.persistence=LABEL=a", "", func(c Config) bool { return c.MayPersist() == nil }},
		"a disk, nothing pinned":       {"", "boot.persistence=LABEL=b", func(c Config) bool { return c.MayPersist() == nil }},
		"an artifact":                  {"rootfs=oci://r/web@sha256:" + emptySHA, "rootfs=http://b/ rootfs=oci://r/web:1", func(c Config) bool { return len(c.Rootfs) == 0 && c.Vouching }},
		"an artifact, elsewhere":       {"rootfs=oci://r/web@sha256:" + emptySHA, "rootfs=oci://mirror/x:1@sha256:" + emptySHA, func(c Config) bool { return len(c.Rootfs) == 1 && c.Rootfs[0].Artifact().Host == "mirror" }},
		"an artifact, the tag alone":   {"rootfs=oci://r/web:1", "rootfs=http://b/", func(c Config) bool { return c.Rootfs[0].Raw == "http://b/" && !c.Vouching }},
		"a default may be replaced":    {"rootfs=http://a/", "rootfs=http://b/", func(c Config) bool { return len(c.Rootfs) == 1 && c.Rootfs[0].Raw == "http://b/" }},
	} {
		c, wrong := Load(initrdOf(t, test.own, test.line, files), breakable)
		if !test.holds(c) {
			t.Errorf("%s: %+v, %v", name, c, wrong)
		}
	}
}

// Files that can't be read are complaints, and loosen nothing.
func TestLoadOfBrokenInitrds(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a folder for the parameters": {"etc/netstage/cmdline/x": ""},
		"a policy that is none":       {"etc/netstage/policy.json": "x"},
		"a table that is none":        {"etc/netstage/fstab": "x"},
	} {
		c, wrong := Load(initrdOf(t, "", "boot.shell_on_fail", files), breakable)
		if len(wrong) == 0 || name == "a policy that is none" && (c.ShellOnFail || !c.Policy.RequireVouched) {
			t.Errorf("%s: %+v, %v", name, c.Policy, wrong)
		}
	}
	if _, wrong := Load(t.TempDir(), breakable); len(wrong) == 0 {
		t.Error("no command line at all passes")
	}
}

// References are what they are, wherever the initrd lies.
func TestImages(t *testing.T) {
	for name, test := range map[string]struct {
		line  string
		files map[string]string
		want  string
		needs bool
	}{
		"rootfs=":           {"rootfs=http://a/x root=/dev/sda", nil, "http://a/x", true},
		"of the initrd":     {"root=/dev/sda", map[string]string{"nix-store.squashfs": ""}, "/nix-store.squashfs", false},
		"root=":             {"root=/dev/sda", nil, "root=/dev/sda", false},
		"findiso=":          {"root=/dev/sda findiso=/x.iso", nil, "findiso=/x.iso", false},
		"a manifest's":      {"rootfs.manifest=http://a/m", map[string]string{"nix-store.squashfs": ""}, "", true},
		"none":              {"", nil, "", false},
		"kept, not fetched": {"root=/dev/sda ip=dhcp boot.network=keep", nil, "root=/dev/sda", true},
	} {
		root := initrdOf(t, "", test.line, test.files)
		c, _ := Load(root, breakable)
		got := ""
		if images := c.Images(root); len(images) > 0 {
			got = images[0].Raw
		}
		if got != test.want || c.NeedsNetwork() != test.needs {
			t.Errorf("%s: %q, needs the network: %v", name, got, c.NeedsNetwork())
		}
	}
}
