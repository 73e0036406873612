package stream

import (
	"slices"
	"testing"
)

func TestWhatAShutdownTakes(t *testing.T) {
	for name, test := range map[string]struct {
		maps        string
		there, want []string
	}{
		"FHS": {`55d0-55d1 r--p 00000000 fe:00 1234 /usr/lib/systemd/systemd
7f00-7f01 r-xp 00001000 fe:00 99 /usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so
7f01-7f02 r--p 00002000 fe:00 99 /usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so
7f02-7f03 rw-p 00000000 00:00 0 [heap]
7f03-7f04 rw-p 00000000 00:00 0
`, []string{"/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl"},
			[]string{"/usr/lib/systemd/systemd", "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl"}},
		"NixOS, an init of another name": {`55d0-55d1 r--p 00000000 fe:00 1234 /nix/store/a-toplevel/init
7f00-7f01 r-xp 00001000 fe:00 99 /nix/store/b-systemd/lib/systemd/libsystemd-shared-257.so
`, []string{"/nix/store/b-systemd/lib/systemd/systemd-shutdown", "/nix/store/b-systemd/lib/systemd/systemd-executor", "/nix/store/b-systemd/bin/systemctl"},
			[]string{"/nix/store/a-toplevel/init", "/nix/store/b-systemd/lib/systemd/libsystemd-shared-257.so", "/nix/store/b-systemd/lib/systemd/systemd-shutdown",
				"/nix/store/b-systemd/lib/systemd/systemd-executor", "/nix/store/b-systemd/bin/systemctl"}},
	} {
		got := shutdownFiles(test.maps, func(name string) bool { return slices.Contains(test.there, name) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
