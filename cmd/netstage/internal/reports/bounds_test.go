package reports

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"netstage/stage1/report"
)

func openStore(t *testing.T) *Store {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReportsThatGrow: a small text that would be large in memory is refused.
func TestReportsThatGrow(t *testing.T) {
	s := openStore(t)
	for name, field := range map[string]string{
		"steps":      `"steps":[` + strings.TrimSuffix(strings.Repeat("{},", 50000), ",") + `]`,
		"links":      `"links":[` + strings.TrimSuffix(strings.Repeat("{},", 50000), ",") + `]`,
		"parameters": `"parameters":[` + strings.TrimSuffix(strings.Repeat(`"",`, 50000), ",") + `]`,
		"mirrors":    `"download":{"mirrors":[` + strings.TrimSuffix(strings.Repeat("{},", 50000), ",") + `]}`,
		"addresses":  `"links":[{"addresses":[` + strings.TrimSuffix(strings.Repeat(`"",`, 50000), ",") + `]}]`,
	} {
		text := `{"version":1,"state":"good","machine":{"macs":["52:54:00:00:00:01"]},` + field + `}`
		if _, err := s.Add([]byte(text), "192.0.2.1", time.Now()); err == nil || !strings.Contains(err.Error(), "are the most") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFloodOfMachines: an address that invents machines leaves room for those
// of others, and those that are known go on.
func TestFloodOfMachines(t *testing.T) {
	s := openStore(t)
	told := func(n int, from string) error {
		text := fmt.Sprintf(`{"version":1,"state":"good","machine":{"macs":["52:54:00:%02x:%02x:%02x"]}}`, n>>16&255, n>>8&255, n&255)
		_, err := s.Add([]byte(text), from, time.Now())
		return err
	}
	for n := range mostTold {
		if err := told(n, "192.0.2.1"); err != nil {
			t.Fatal(n, err)
		}
	}
	if err := told(mostTold, "192.0.2.1"); err != ErrTold {
		t.Errorf("one machine more: %v", err)
	}
	if err := told(mostTold, "192.0.2.2"); err != nil {
		t.Errorf("a machine by another address: %v", err)
	}
	if err := told(0, "192.0.2.1"); err != nil {
		t.Errorf("a machine that is known: %v", err)
	}
	boots, err := s.Last()
	if err != nil || len(boots) != mostTold+1 {
		t.Errorf("%d machines, %v", len(boots), err)
	}
}

// TestMemoryOfThePage: what is kept for the page has kilobytes, however large
// the reports are.
func TestMemoryOfThePage(t *testing.T) {
	const machines, most = 40, 800 << 10 // a tenth of what they tell
	s := openStore(t)
	large := strings.Repeat("x", 30000)
	for n := range machines {
		text := fmt.Sprintf(`{"version":1,"state":"failed","failure":{"class":"x","cause":%q},"kernel_log":[%[1]q,%[1]q],"parameters":[%[1]q],
			"machine":{"vendor":%[1]q,"serial":%[1]q,"macs":["52:54:00:00:00:%02x"]},"image":{"source":%[1]q}}`, large, n)
		if _, err := s.Add([]byte(text), "192.0.2.1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	if boots, err := s.Last(); err != nil || len(boots) != machines || boots[0].State != report.Failed {
		t.Fatal(len(boots), err)
	}
	if grown := heap() - before; grown > most {
		t.Errorf("%d kB for %d machines", grown>>10, machines)
	}
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
