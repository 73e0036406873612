package qemutests

import (
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// A mirror that is switched off answers nothing at all. The other one is used.
func TestSilentMirror(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	s := v.serve(t, lan, nil)
	// The gateway forwards nothing, and does not say so.
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=http://192.0.2.1/image.squashfs rootfs=" + s.URL("image.squashfs") +
		" init=" + system.Init + " rootfs.sha256=" + v.sha256})
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "!proof of the path timed out")
}
