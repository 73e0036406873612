package stage1

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"netstage/stage1/report"
)

// A download that takes for ever is told of, once in a while.
func TestWaitingIsTold(t *testing.T) {
	got := make(chan report.State, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		text, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r, err := report.Parse(text)
		if err != nil {
			t.Error(err)
		}
		got <- r.State
	}))
	defer server.Close()
	b := Boot{Agent: Agent{Log: slog.New(slog.DiscardHandler), Version: "1.0", Status: func(string) {}}}
	b.config.ReportTo = server.URL
	start := time.Now()
	b.record.tellAt = start.Add(waitingAfter)
	for _, test := range []struct {
		after time.Duration
		told  bool
	}{{time.Second, false}, {waitingAfter, true}, {waitingAfter + time.Minute, false}, {waitingAfter + waitingEvery, true}} {
		b.tellOfWaiting(start.Add(test.after))
		if test.told {
			if state := <-got; state != report.Running {
				t.Errorf("after %v: state %s", test.after, state)
			}
		}
	}
	b.endWaiting()
	if len(got) > 0 {
		t.Errorf("%d reports too many", len(got))
	}
}
