package mirror

import (
	"testing"
	"time"
)

func TestNextMirror(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	dead := &Fault{}
	for name, c := range map[string]struct {
		list []*Mirror
		want int // -1: none
	}{
		"the first at first":                    {[]*Mirror{{}, {}}, 0},
		"not one that failed":                   {[]*Mirror{{faults: 1}, {}}, 1},
		"not a dead one":                        {[]*Mirror{{dead: dead}, {faults: 9}}, 1},
		"none":                                  {[]*Mirror{{dead: dead}}, -1},
		"the one that is ready":                 {[]*Mirror{{ready: at(1)}, {faults: 9}}, 1},
		"else the one that is ready soonest":    {[]*Mirror{{ready: at(2)}, {ready: at(1), faults: 9}}, 1},
		"the faster of two that failed":         {[]*Mirror{{faults: 1, rate: 1e6}, {faults: 1, rate: 2e6}}, 1},
		"the slower one if it fails less":       {[]*Mirror{{faults: 5, rate: 2e6}, {faults: 1, rate: 1e6}}, 1},
		"a new one before a slow one":           {[]*Mirror{{faults: 1, rate: 1e4}, {}}, 1},
		"a much faster one is waited for":       {[]*Mirror{{faults: 1, rate: 1e4}, {faults: 1, rate: 1e7, ready: at(time.Second)}}, 1},
		"but not for long":                      {[]*Mirror{{faults: 1, rate: 1e4}, {faults: 1, rate: 1e7, ready: at(2 * time.Second)}}, 0},
		"nor when it is only a little faster":   {[]*Mirror{{faults: 1, rate: 1e7}, {faults: 1, rate: 2e7, ready: at(time.Second)}}, 0},
		"nor when the ready one may be as good": {[]*Mirror{{}, {faults: 1, rate: 1e7, ready: at(time.Second)}}, 0},
	} {
		list := c.list
		got := -1
		for i, s := range list {
			if s == Next(list, now) {
				got = i
			}
		}
		if got != c.want {
			t.Errorf("%s: mirror %d, want %d", name, got, c.want)
		}
	}
}
