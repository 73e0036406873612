package mirror

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]contentRange{
		"bytes 0-9/10":    {0, 9, 10},
		"Bytes 5-9/*":     {5, 9, -1},
		"bytes */10":      {-1, -1, 10},
		" bytes  0-0/1 ":  {0, 0, 1},
		"bytes 10-19/20 ": {10, 19, 20},
	} {
		if got, ok := parseContentRange(in); !ok || got != want {
			t.Errorf("%q: %+v %v, want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "bytes", "bytes 0-9", "bytes 9-0/10", "bytes 0-10/10", "bytes +0-9/10", "bytes -9/10", "items 0-9/10",
		"bytes */*", "bytes 0-9/99999999999999999999", "bytes 0-9/1_0"} {
		if got, ok := parseContentRange(in); ok {
			t.Errorf("%q accepted as %+v", in, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes */10", "bytes 5-9/*", "bytes 9-0/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseContentRange(s)
		if !ok {
			return
		}
		if r.first > r.last || r.total >= 0 && r.last >= r.total || r.first < 0 && r.total < 0 {
			t.Errorf("%q accepted as %+v", s, r)
		}
		if r.first >= 0 && r.total >= 0 {
			if again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%d", r.first, r.last, r.total)); !ok || again != r {
				t.Errorf("%+v written out is %+v", r, again)
			}
		}
	})
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		after, date string
		clock       time.Time
		want        time.Duration
	}{
		{"7", "", now, 7 * time.Second},
		{"0", "", now, 0},
		{"86400", "", now, time.Minute},
		{"99999999999999999999", "", now, time.Minute},
		{"-5", "", now, 0},
		{"soon", "", now, 0},
		{"", "", now, 0},
		{at(9 * time.Second), "", now, 9 * time.Second},
		{at(-9 * time.Second), "", now, 0},
		{at(time.Hour), "", now, time.Minute},
		// The clock is at 1970: the server's own date counts.
		{at(9 * time.Second), at(0), time.Unix(0, 0), 9 * time.Second},
		{at(9 * time.Second), "", time.Unix(0, 0), time.Minute},
	} {
		h := http.Header{}
		h.Set("Retry-After", c.after)
		h.Set("Date", c.date)
		if got := parseRetryAfter(h, c.clock, time.Minute); got != c.want {
			t.Errorf("Retry-After %q, Date %q: %v, want %v", c.after, c.date, got, c.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7", "Sun, 22 Nov 2026 12:00:00 GMT")
	f.Add("Sun, 22 Nov 2026 12:00:07 GMT", "")
	f.Add("Sunday, 22-Nov-26 12:00:07 GMT", "x")
	f.Fuzz(func(t *testing.T, after, date string) {
		h := http.Header{"Retry-After": {after}, "Date": {date}}
		if d := parseRetryAfter(h, time.Unix(1e9, 0), time.Minute); d < 0 || d > time.Minute {
			t.Errorf("%q gives %v", after, d)
		}
	})
}
