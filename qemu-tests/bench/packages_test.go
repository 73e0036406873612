package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	got := Lines(`goos: linux
pkg: netstage/netup
BenchmarkLease-2          	       3	         4.699 ms/netup	        31.17 ms/udhcpc	         0.1508 ratio
BenchmarkSixteenLinks-2   	       3	 770972420 ns/op	         1.459 ms/one
PASS
ok  	netstage/netup	2.987s
`)
	want := []string{"netup.BenchmarkLease", "  4.699 ms/netup", "  31.17 ms/udhcpc", "  0.1508 ratio", "netup.BenchmarkSixteenLinks", "  1.459 ms/one"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
