package reporting

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"netstage/stage1/config"
	"netstage/stage1/network"
	"netstage/stage1/report"
	"netstage/stage1/step"
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
	r := Record{
		Log: slog.New(slog.DiscardHandler), Version: "1.0", Root: t.TempDir(),
		Timeline: new(step.Timeline), Network: new(network.Connection), Config: config.Config{ReportTo: server.URL},
	}
	start := time.Now()
	r.waiting.since(start)
	for _, test := range []struct {
		after time.Duration
		told  bool
	}{{time.Second, false}, {waitingAfter, true}, {waitingAfter + time.Minute, false}, {waitingAfter + waitingEvery, true}} {
		r.tellOfWaiting(start.Add(test.after))
		if test.told {
			if state := <-got; state != report.Running {
				t.Errorf("after %v: state %s", test.after, state)
			}
		}
	}
	r.waiting.over()
	if len(got) > 0 {
		t.Errorf("%d reports too many", len(got))
	}
}
