package config

import "testing"

// An iPXE that does not know where it found its script hands over nothing.
func TestEmptyBase(t *testing.T) {
	with, err := parse("rootfs=http://srv/x.squashfs rootfs.base= init=/init")
	without, other := parse("rootfs=http://srv/x.squashfs init=/init")
	if err != nil || other != nil || with.Base != without.Base {
		t.Errorf("%v %v: %v, %v", err, other, with.Base, without.Base)
	}
}
