package nix

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReadBootspec(t *testing.T) {
	root := t.TempDir()
	top := filepath.Join(root, "nix/store/top")
	if err := os.MkdirAll(top, 0o755); err != nil {
		t.Fatal(err)
	}
	read := func(text string) (Bootspec, error) {
		t.Helper()
		if err := os.WriteFile(top+"/boot.json", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return ReadBootspec(root, "/nix/store/top")
	}
	if got, err := ReadBootspec(root, "/nix/store/top"); err != nil || !reflect.DeepEqual(got, Bootspec{}) {
		t.Errorf("without boot.json: %+v, %v", got, err)
	}
	// As nixpkgs writes it, 26.11pre of July 2026.
	got, err := read(`{"org.netstage.v1":{"etc_mutable":false},"org.nixos.bootspec.v1":{"init":"/nix/store/top/init","kernelParams":["loglevel=4"]},
		"org.nixos.nixos-init.v1":{"env_binary":"/nix/store/e/bin/env","etc_basedir":"/nix/store/b","etc_metadata_image":"/nix/store/m","firmware":"/nix/store/f/lib/firmware",
		"modprobe_binary":"/nix/store/k/bin/modprobe","nix_store_mount_opts":["ro","nodev","nosuid"],"sh_binary":"/nix/store/s/bin/sh"},"org.nixos.specialisation.v1":{}}`)
	want := Bootspec{true, "/nix/store/f/lib/firmware", "/nix/store/k/bin/modprobe", []string{"ro", "nodev", "nosuid"}, "/nix/store/e/bin/env", "/nix/store/s/bin/sh", "/nix/store/m", "/nix/store/b", true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"{":                               "JSON",
		`{"org.nixos.nixos-init.v1":"x"}`: "cannot unmarshal",
		`{"org.nixos.nixos-init.v1":{"etc_basedir":"/b"}}`:                          "one without the other",
		`{"org.nixos.nixos-init.v1":{"etc_basedir":"b","etc_metadata_image":"/m"}}`: `etc_basedir "b" is no absolute path`,
		`{"org.nixos.nixos-init.v1":{"modprobe_binary":"../../bin/modprobe"}}`:      "is no absolute path",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Releases before 26.05 link them.
	for _, name := range []string{"etc-metadata-image", "etc-basedir"} {
		if err := os.Symlink("/nix/store/"+name, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := read("{}"); err != nil || got.EtcImage != "/nix/store/top/etc-metadata-image" || got.EtcBasedir != "/nix/store/top/etc-basedir" || got.NixosInit || got.EtcReadOnly {
		t.Errorf("links: %+v, %v", got, err)
	}
}

func FuzzBootspec(f *testing.F) {
	f.Add([]byte(`{"org.nixos.nixos-init.v1":{"etc_basedir":"/b","etc_metadata_image":"/m"},"org.netstage.v1":{"etc_mutable":true}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Bootspec
		if s.parse(text) == nil && (s.EtcImage == "") != (s.EtcBasedir == "") {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
