package config

import (
	"testing"

	"netstage/fetch/ref"
)

// An iPXE that does not know where it found its script hands over nothing.
func TestEmptyBase(t *testing.T) {
	without, other := parse("rootfs=http://srv/x.squashfs init=/init")
	for _, base := range []string{"", "/..", "undionly.kpxe/..", "netboot/boot.ipxe/.."} {
		with, err := parse("rootfs=http://srv/x.squashfs rootfs.base=" + base + " init=/init")
		if err != nil || other != nil || with.Base != without.Base {
			t.Errorf("%q: %v %v: %v, %v", base, err, other, with.Base, without.Base)
		}
	}
	if _, err := parse("rootfs=x rootfs.base=folder init=/init"); err == nil {
		t.Error("no URL, and no complaint")
	}
}

// One that knows its boot file alone hands that over, with the way up.
func TestBaseOfABootFile(t *testing.T) {
	c, err := parse("rootfs=x.squashfs rootfs.base=http://srv:8080/web/boot.ipxe/.. init=/init")
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Rootfs[0].Resolve(ref.Base{Rootfs: c.Base})
	if err != nil || l.String() != "http://srv:8080/web/x.squashfs" {
		t.Errorf("%s %v", l, err)
	}
}
