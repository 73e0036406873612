package qemutests

import "testing"

// A mirror that is switched off answers nothing at all. The other one is used.
func TestSilentMirror(t *testing.T) {
	scenario{
		lan: &network{},
		// The gateway forwards nothing, and does not say so.
		cmdline: "rootfs=http://192.0.2.1/image.squashfs rootfs={url} init={init} rootfs.sha256={sha256}",
		shown:   []string{"!proof of the path timed out"},
	}.run(t)
}
