package fetch

import (
	"fmt"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
)

// TestSlowMirrorIsLeft has one mirror that trickles and one that drops now and
// then: after the slow one was tried once, the fast one does it all.
func TestSlowMirrorIsLeft(t *testing.T) {
	content := imageBytes(16 << 20)
	fast := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 5 << 20, Times: 2})
	slow := serve(t, content, faulty.Behaviour{Rate: 40 << 10, Times: -1})
	r, log := quick(t, content, slow.URL("x"), fast.URL("x"))
	// A trickle counts as measured after a second.
	r.LowSpeed = pace.LowSpeedLimit{Bytes: 1 << 20, Window: 1100 * time.Millisecond}
	mustGet(t, r, content)
	if n := len(slow.Log()); n != 1 {
		t.Errorf("the slow mirror was asked %d times\n%s", n, log)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	var a attempts
	for i := range 100 {
		a.add(time.Duration(i)*time.Second, fmt.Sprint(i/2))
	}
	if l := a.list(); len(l) != 12 || l[11] != "98.0-99.0 s: 49 (2 times)" {
		t.Errorf("%q", l)
	}
}
