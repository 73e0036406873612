package qemutests

import (
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// A network that loses packets in both directions, one in twenty, and resets
// connections again and again, without the server having a part in it.
func TestLossAndResets(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	for name, test := range map[string]struct {
		rules string
		want  []string
	}{
		"loss": {`
			chain out { type filter hook output priority 0; numgen random mod 100 < 5 drop; }
			chain in { type filter hook input priority 0; numgen random mod 100 < 5 drop; }`, nil},
		// Every tenth packet to the server is answered by a reset.
		"resets": {`
			chain in { type filter hook input priority 0; meta l4proto tcp numgen inc mod 10 == 9 reject with tcp reset; }`,
			[]string{"connection reset", "resuming at"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			s := v.serve(t, lan, nil)
			lan.Firewall(t, test.rules)
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "init=" + system.Init + " roothash=" + v.root + " rootfs=" + s.URL("image.squashfs")})
			expectEnd(t, m, nsmachine.PoweredOff, append(test.want, "stage 2 done", "!starting over")...)
		})
	}
}
