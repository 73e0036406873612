package fetch

import (
	"fmt"
	"testing"
	"time"

	"netstage/fetch/faulty"
)

func TestNextMirror(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	dead := &Error{}
	for name, c := range map[string]struct {
		list []source
		want int // -1: none
	}{
		"the first at first":                    {[]source{{}, {}}, 0},
		"not one that failed":                   {[]source{{faults: 1}, {}}, 1},
		"not a dead one":                        {[]source{{dead: dead}, {faults: 9}}, 1},
		"none":                                  {[]source{{dead: dead}}, -1},
		"the one that is ready":                 {[]source{{ready: at(1)}, {faults: 9}}, 1},
		"else the one that is ready soonest":    {[]source{{ready: at(2)}, {ready: at(1), faults: 9}}, 1},
		"the faster of two that failed":         {[]source{{faults: 1, rate: 1e6}, {faults: 1, rate: 2e6}}, 1},
		"the slower one if it fails less":       {[]source{{faults: 5, rate: 2e6}, {faults: 1, rate: 1e6}}, 1},
		"a new one before a slow one":           {[]source{{faults: 1, rate: 1e4}, {}}, 1},
		"a much faster one is waited for":       {[]source{{faults: 1, rate: 1e4}, {faults: 1, rate: 1e7, ready: at(time.Second)}}, 1},
		"but not for long":                      {[]source{{faults: 1, rate: 1e4}, {faults: 1, rate: 1e7, ready: at(2 * time.Second)}}, 0},
		"nor when it is only a little faster":   {[]source{{faults: 1, rate: 1e7}, {faults: 1, rate: 2e7, ready: at(time.Second)}}, 0},
		"nor when the ready one may be as good": {[]source{{}, {faults: 1, rate: 1e7, ready: at(time.Second)}}, 0},
	} {
		var list []*source
		for i := range c.list {
			list = append(list, &c.list[i])
		}
		got := -1
		for i, s := range list {
			if s == next(list, now) {
				got = i
			}
		}
		if got != c.want {
			t.Errorf("%s: mirror %d, want %d", name, got, c.want)
		}
	}
}

// TestSlowMirrorIsLeft has one mirror that trickles and one that drops now and then: after the slow one was tried
// once, the fast one does it all.
func TestSlowMirrorIsLeft(t *testing.T) {
	content := imageBytes(16 << 20)
	fast := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 5 << 20, Times: 2})
	slow := serve(t, content, faulty.Behaviour{Rate: 40 << 10, Times: -1})
	r, log := quick(t, content, slow.URL("x"), fast.URL("x"))
	// A trickle counts as measured after a second.
	r.Floor = Floor{Bytes: 1 << 20, Window: 1100 * time.Millisecond}
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
