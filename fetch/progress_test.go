package fetch

import (
	"context"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
)

// TestMirrorsAreTold looks at what an operator hears of three mirrors: one that
// has no image, one that drops it, and one that ends it.
func TestMirrorsAreTold(t *testing.T) {
	content := imageBytes(3 << 20)
	missing := serve(t, content, faulty.Behaviour{Status: 404, Times: -1})
	drops := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 1 << 20}, faulty.Behaviour{Status: 503, RetryAfter: "60", Times: -1})
	good := serve(t, content)
	r, _ := quick(t, content, missing.URL("x?key=geheim"), strings.Replace(drops.URL("x"), "http://", "http://joe:geheim@", 1), good.URL("x"))
	var last Progress
	faults := 0
	r.Progress = func(p Progress) {
		if last = p; p.Retries > faults {
			faults++
		}
	}
	mustGet(t, r, content)
	if faults != 2 || last.Retries != 2 || last.Bytes != 3<<20 {
		t.Errorf("%d faults told, the last report is %+v", faults, last)
	}
	want := []Mirror{
		{URL: "http://" + missing.Addr() + "/x?…", Faults: 1, Class: "http-404", Bad: true},
		{URL: "http://" + drops.Addr() + "/x", Faults: 1, Class: "short", Bytes: 1 << 20},
		{URL: good.URL("x"), Answer: "HTTP/1.1 206 Partial Content", Bytes: 2 << 20},
	}
	for i, m := range last.Mirrors {
		t.Logf("%+v", m)
		if strings.Contains(m.URL+m.Answer, "geheim") || strings.Contains(m.URL, "joe") {
			t.Errorf("a secret is told: %+v", m)
		}
		if w := want[i]; m.Bytes != w.Bytes || m.Faults != w.Faults || m.Class != w.Class || m.Bad != w.Bad || w.Answer != "" && m.Answer != w.Answer {
			t.Errorf("mirror %d is %+v, want %+v", i, m, w)
		}
	}
	if a := last.Mirrors[0].Answer; !strings.Contains(a, "404 Not Found") {
		t.Errorf("the answer is %q", a)
	}
}

func TestFinalErrorTellsTheMirrors(t *testing.T) {
	content := imageBytes(1 << 20)
	busy := serve(t, content, faulty.Behaviour{Status: 503, Times: -1})
	gone := serve(t, content, faulty.Behaviour{Status: 410, Times: -1})
	r, _ := quick(t, content, busy.URL("x"), gone.URL("x"))
	ctx, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	p := mustFailIn(t, ctx, r, "http-503").Progress()
	if len(p.Mirrors) != 2 || p.Retries < 3 || p.Bytes != 0 {
		t.Fatalf("%+v", p)
	}
	for i, want := range []Mirror{{Class: "http-503", Bad: false}, {Class: "http-410", Bad: true}} {
		if m := p.Mirrors[i]; m.Class != want.Class || m.Bad != want.Bad || m.Answer == "" {
			t.Errorf("mirror %d is %+v", i, m)
		}
	}
}
