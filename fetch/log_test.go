package fetch

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"netstage/debug/sentence"
	"netstage/fetch/faulty"
	"netstage/stage1/fault"
)

// story is a log that a test reads.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) logger() *slog.Logger {
	return slog.New(sentence.NewHandler(slog.LevelDebug, func(l sentence.Line) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, l.Level.String()+" "+l.Text)
		return nil
	}))
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *story) mustSay(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(s.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, s)
	}
}

// A tool reads from the attributes what a line is of, who it is about, and of
// what class the error is.
func TestLogIsForToolsToo(t *testing.T) {
	content := imageBytes(1 << 20)
	s := serve(t, content, faulty.Behaviour{End: faulty.EndReset, Cut: 512 << 10})
	r, _ := quick(t, content, s.URL("x"))
	r.What = "root"
	attrs := map[string]map[string]any{} // by the beginning of the line
	r.Log = slog.New(sentence.NewHandler(slog.LevelInfo, func(l sentence.Line) error {
		of := map[string]any{}
		for _, a := range l.Attrs {
			of[a.Key] = a.Value.Any()
		}
		_, text, _ := strings.Cut(l.Text, ": ")
		attrs[strings.Fields(text)[0]] = of
		return nil
	}))
	mustGet(t, r, content)
	failed, _ := attrs[s.Addr()+":"]["err"].(error)
	if class := fault.ClassOf(failed); class != fault.Reset {
		t.Errorf("class %q of the fault: %v", class, attrs)
	}
	for _, line := range []string{"resuming", "1"} {
		if of := attrs[line]; of["mirror"] != s.Addr() || of["what"] != "root" {
			t.Errorf("%s: %v", line, attrs)
		}
	}
}
