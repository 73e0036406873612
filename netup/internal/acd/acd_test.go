package acd

import (
	"bytes"
	"net/netip"
	"testing"
)

func FuzzNeighbour(f *testing.F) {
	addr := netip.MustParseAddr("2001:db8::50")
	f.Add(append(append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, addr.AsSlice()...), 2, 1, 2, 0, 0, 0, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if mac := neighbour(b, addr); mac != nil && (len(mac) != 6 || !bytes.Contains(b, mac) || !bytes.Contains(b, addr.AsSlice())) {
			t.Errorf("%s", mac)
		}
	})
}

func FuzzHolder(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 1, 0, 9, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if mac := holder(b, netip.MustParseAddr("10.1.0.9")); mac != nil && (len(mac) != 6 || !bytes.Contains(b, mac)) {
			t.Errorf("%s", mac)
		}
	})
}
