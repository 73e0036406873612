package stage1

import (
	"testing"
	"time"

	"netstage/nix"
)

func TestSystemdState(t *testing.T) {
	now := time.Unix(1_800_000_010, 500_000_000) // the agent runs since 8 s
	got := systemdState(2*time.Second, 10*time.Second, now)
	if want := "initrd-timestamp=1800000002500000 2000000\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStateIsForSystemd(t *testing.T) {
	for _, c := range []struct {
		system nix.System
		want   string
	}{
		{nix.System{Kind: nix.PrepareRoot, Init: "/nix/store/x-nixos-system-web-26.05/init"}, stateFile},
		{nix.System{Kind: nix.Plain, Init: "/usr/lib/systemd/systemd"}, stateFile},
		{nix.System{Kind: nix.Classic, Init: "/nix/store/x-nixos-system-web-25.05/init"}, ""},
		{nix.System{Kind: nix.Plain, Init: "/sbin/openrc-init"}, ""},
	} {
		if got := stateFor(c.system); got != c.want {
			t.Errorf("%+v: %q, want %q", c.system, got, c.want)
		}
	}
}
