package rtnl

import (
	"testing"

	"netstage/netup/lease"
)

func FuzzPNP(f *testing.F) {
	f.Add([]byte("#MANUAL\nnameserver 10.0.0.1\ndomain a.example\nbootserver 10.0.0.2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l lease.Lease
		readPNP(b, &l)
		for _, s := range l.Search {
			if !lease.ValidName(s) {
				t.Errorf("domain %q", s)
			}
		}
		if len(l.DNS) > lease.MaxListed {
			t.Errorf("%d servers", len(l.DNS))
		}
	})
}
