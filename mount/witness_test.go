package mount

import (
	"os"
	"strings"
	"testing"

	"netstage/stage1/fault"
)

// Whatever takes the place of what was looked at is found, however it got
// there.
func TestWitness(t *testing.T) {
	needRoot(t)
	build := func() (string, *Witness) {
		root := mountPoint(t)
		must(t, Volatile.at(root).Do())
		write(t, root+"/nix/store/top/init", "the image's")
		if err := (Mount{Type: "tmpfs", Source: "tmpfs", Target: root + "/nix/store"}).Do(); err != nil {
			t.Fatal(err)
		}
		write(t, root+"/nix/store/top/init", "the image's")
		w, err := NewWitness(root, "/", "/nix/store", "/nix/store/top/init")
		if err != nil {
			t.Fatal(err)
		}
		return root, w
	}
	evil := Mount{Type: "tmpfs", Source: "tmpfs"}
	for name, test := range map[string]struct {
		attack func(root string)
		want   string // in the error; empty: none
	}{
		"nothing":       {func(string) {}, ""},
		"elsewhere":     {func(root string) { must(t, evil.at(root+"/persist").Do()) }, ""},
		"at /nix":       {func(root string) { must(t, evil.at(root+"/nix").Do()); write(t, root+"/nix/store/top/init", "evil") }, "/nix/store is not the image's any more"},
		"an empty disk": {func(root string) { must(t, evil.at(root+"/nix").Do()) }, "/nix/store is not the image's any more"},
		"over the init": {func(root string) {
			write(t, root+"/evil", "")
			must(t, Entry{Device: "/evil", Target: "/nix/store/top/init", Options: []string{"bind"}}.Do(t.Context(), root, ""))
		}, "/nix/store/top/init is not the image's any more"},
		"over another file": {func(root string) { must(t, evil.at(root+"/nix/store/systemd").Do()) }, "/nix/store/systemd is not the image's any more: something is mounted in the store"},
		"by a link": {func(root string) {
			must(t, os.Symlink("nix/store/libs", root+"/var"))
			must(t, os.Mkdir(root+"/nix/store/libs", 0o755))
			must(t, evil.at(root+"/var/x").Do())
		}, "something is mounted in the store"},
		"a root of its own": {func(root string) { must(t, evil.at(root).Do()); write(t, root+"/nix/store/top/init", "evil") }, "/ is not the image's any more"},
		"the init is gone":  {func(root string) { must(t, os.Remove(root+"/nix/store/top/init")) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			root, w := build()
			test.attack(root)
			err := w.Check()
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || fault.ClassOf(err) != fault.Policy {
				t.Errorf("%v (%s), want %q", err, fault.ClassOf(err), test.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A table can't ask for it in the first place.
func TestTableRefusesThePlaceOfTheImage(t *testing.T) {
	for _, target := range []string{"/", "/nix", "/nix/", "/nix/store", "/nix/store/x", "/nix/.ro-store", "/nix/.rw-store/store"} {
		if _, err := ParseTable("/dev/sda1 " + target + " ext4 defaults 0 0"); err == nil || !strings.Contains(err.Error(), "in the place of the image") {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"/nix/var", "/nixos", "/var", "/nix/.rw"} {
		if _, err := ParseTable("/dev/sda1 " + target + " ext4 defaults 0 0"); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}
