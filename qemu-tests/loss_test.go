package qemutests

import "testing"

// A network that loses packets in both directions, one in twenty, and resets
// connections again and again, without the server having a part in it.
func TestLossAndResets(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scenario{
		"loss": {lan: &network{firewall: `
			chain out { type filter hook output priority 0; numgen random mod 100 < 5 drop; }
			chain in { type filter hook input priority 0; numgen random mod 100 < 5 drop; }`}},
		// Every tenth packet to the server is answered by a reset.
		"resets": {lan: &network{firewall: `
			chain in { type filter hook input priority 0; meta l4proto tcp numgen inc mod 10 == 9 reject with tcp reset; }`},
			shown: []string{"connection reset", "resuming at"}},
	} {
		s.cmdline = "init={init} roothash={roothash} rootfs={url}"
		s.shown = append(s.shown, "!starting over")
		t.Run(name, s.run)
	}
}
