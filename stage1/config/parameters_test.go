package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"netstage/stage1/cmdline"
)

func load(own, line string) (Config, error) {
	c, wrong := combine(cmdline.Parse(own), cmdline.Parse(line), breakable)
	return c, Complaint(wrong)
}

func TestOwnParametersAreDefaults(t *testing.T) {
	own := "rootfs=http://a/x rootfs=http://b/x\nip=192.0.2.2::192.0.2.1:24::eth0:none boot.fail_timeout=7 nameserver=192.0.2.1 console=ttyS1\n"
	c, err := load(own, "quiet")
	if err != nil || len(c.Rootfs) != 2 || c.FailTimeout != 7*time.Second || !c.WantNetwork || c.Console != "ttyS1" {
		t.Errorf("alone: %+v, %v", c, err)
	}
	c, err = load(own, "rootfs=http://c/y ip=dhcp console=ttyS0")
	if err != nil || len(c.Rootfs) != 1 || c.Rootfs[0].Raw != "http://c/y" || c.Network.Entries[0].Method != "dhcp" || len(c.Network.Entries) != 1 ||
		c.Console != "ttyS0" || c.FailTimeout != 7*time.Second {
		t.Errorf("replaced: %+v, %v", c, err)
	}
}

// A script that has nothing to put there says nothing; what vouches or
// restricts is never nothing.
func TestEmptyValues(t *testing.T) {
	own := "rootfs=http://a/x rootfs.proxy=http://p:3128"
	empty := " rootfs.proxy= rootfs.cache= boot.report= boot.dhcp.hostname= boot.dhcp.user-class= boot.fail_timeout= findiso= boot.persistence= ip= BOOTIF="
	for line, image := range map[string]string{
		empty:                                "http://a/x",
		empty + " rootfs= rootfs=http://b/y": "http://b/y",
	} {
		c, err := load(own, line+" init= init=/nix/store/a/init")
		if err != nil || len(c.Rootfs) != 1 || c.Rootfs[0].Raw != image || c.Init != "/nix/store/a/init" || c.Proxy != "http://p:3128" ||
			c.FailTimeout != time.Minute || c.HostName != "" || c.ReportTo != "" {
			t.Errorf("%q: %+v, %v", line, c, err)
		}
	}
	for _, line := range []string{
		"rootfs=", "init=", "rootfs.sha256=", "roothash=", "rootfs.manifest=", "rootfs.manifest.newer=", "rootfs.manifest.name=", "rootfs.verity=",
		"rootfs.ca=", "rootfs.token=", "rootfs.sha256= rootfs.sha256=" + emptySHA,
	} {
		if _, err := load("", line); err == nil {
			t.Errorf("%q says nothing", line)
		}
	}
}

func TestOwnParametersPin(t *testing.T) {
	other := strings.Repeat("0", 64)
	pinned := "init=/nix/store/a/init rootfs.roothash=" + emptySHA
	for line, want := range map[string]string{
		"":                            "",
		"init=/nix/store/a/init":      "",
		"rootfs.sha256=" + other:      "", // holds besides the root hash
		"roothash=sha256:" + emptySHA: "",
		"init=/nix/store/b/init":      "init=/nix/store/b/init: this initrd starts init=/nix/store/a/init",
		"init=/bin/sh init=/bin/ash":  "init=/bin/ash",
		"rootfs.roothash=" + other:    "rootfs.roothash= is given twice",
		// A specialisation is part of what is pinned.
		"init=/nix/store/a/specialisation/debug/init":    "",
		"init=/nix/store/b/specialisation/x/init":        "this initrd starts",
		"init=/nix/store/a/specialisation/../../b/init":  "this initrd starts",
		"init=/nix/store/a/specialisation/x/sw/bin/init": "this initrd starts",
		"init=/nix/store/a/specialisation//init":         "this initrd starts",
		"roothash=" + other:                              "roothash= is given twice",
		"init=/b roothash=" + other + " x":               "init=/b: ",
	} {
		c, err := load(pinned, line)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
		wantInit := "/nix/store/a/init"
		if strings.Contains(line, "specialisation/debug/init") {
			wantInit = "/nix/store/a/specialisation/debug/init"
		}
		if c.Init != wantInit {
			t.Errorf("%q: init %s", line, c.Init)
		}
		if err == nil && c.RootHash == nil {
			t.Errorf("%q: the root hash is lost", line)
		}
	}
	// The floor of manifests' dates is raised only.
	for line, want := range map[string]int{"rootfs.manifest.newer=2026-01-01": 2026, "rootfs.manifest.newer=2027-01-01": 2027, "": 2026} {
		if c, err := load("rootfs.manifest.newer=2026-06-01", line); err != nil || c.Newer.Year() != want {
			t.Errorf("%q: newer than %v, %v", line, c.Newer, err)
		}
	}
	// dm-verity that the initrd wants is not taken away.
	for line, want := range map[string]string{"": "", "rootfs.verity.mount=panic": "panic_on_corruption"} {
		if c, err := load(pinned+" rootfs.verity.mount", line); err != nil || !c.MountVerity || c.OnCorruption != want {
			t.Errorf("%q: %v %q, %v", line, c.MountVerity, c.OnCorruption, err)
		}
	}
	// All complaints at once.
	if _, err := load(pinned, "init=/b boot.break=mars"); err == nil || !strings.Contains(err.Error(), "init=/b") || !strings.Contains(err.Error(), "mars") {
		t.Errorf("two complaints: %v", err)
	}
}

// Whatever stands on the command line, what the initrd pins holds, or there is
// a complaint.
func FuzzOwnParameters(f *testing.F) {
	f.Add("init=/b rootfs.roothash=" + emptySHA)
	f.Add(`"init=/b" roothash`)
	f.Fuzz(func(t *testing.T, line string) {
		c, err := load("init=/a rootfs.sha256="+emptySHA+" rootfs.roothash="+emptySHA, line)
		want := Default()
		want.SHA256 = pin(nil, cmdline.Param{Value: emptySHA}, func(string, ...any) {})
		if err == nil && (c.Init != "/a" && !specialisationOf("/a", c.Init) || string(c.SHA256) != string(want.SHA256) || string(c.RootHash) != string(want.SHA256)) {
			t.Errorf("%q gives %+v", line, c)
		}
	})
}

// The line that /proc ends with a line break may end in an open quote.
func TestOpenQuoteAtTheEnd(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/proc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/proc/cmdline", []byte("init=/init x=\"y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, wrong := Load(root, nil); len(wrong) > 0 || c.Init != "/init" {
		t.Errorf("init %q, %v", c.Init, wrong)
	}
}
