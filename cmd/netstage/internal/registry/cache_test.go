package registry

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/netboot"
)

// cached is a cache with artifacts of a MiB, which tags meant so long ago.
func cached(t *testing.T, log io.Writer, ages map[string]time.Duration) *Source {
	t.Helper()
	s := &Source{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(log, nil))}
	for name, age := range ages {
		dir, at := filepath.Join(s.Dir, artifacts, name), time.Now().Add(-age)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "initrd"), bytes.Repeat([]byte("x"), 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *Source) names(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir, artifacts))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The oldest go first, as many as there have to, and never what is served.
func TestCacheLimit(t *testing.T) {
	all := map[string]time.Duration{"meant": 20 * time.Hour, "oldest": 9 * time.Hour, "older": 8 * time.Hour, "old": 7 * time.Hour, "cut.new": 10 * time.Hour, "before": time.Minute, "dead": 25 * time.Hour}
	for name, test := range map[string]struct {
		size, need int64
		handed     string
		want       []string
		warns      bool
	}{
		"room for all":            {size: 8 << 20, want: []string{"before", "cut.new", "meant", "old", "older", "oldest"}},
		"a little less":           {size: 5 << 20, want: []string{"before", "meant", "old", "older", "oldest"}},
		"much less":               {size: 3 << 20, want: []string{"before", "meant", "old"}},
		"what is needed counts":   {size: 4 << 20, need: 1 << 20, want: []string{"before", "meant", "old"}},
		"handed out just now":     {size: 3 << 20, handed: "oldest", want: []string{"before", "meant", "oldest"}},
		"none but what is served": {size: 1, want: []string{"before", "meant"}, warns: true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := cached(t, &log, all)
			s.Size = test.size
			if test.handed != "" {
				s.use.touch(test.handed, 0)
			}
			for range 2 {
				if err := s.prune(map[string]string{"stable": "meant"}, test.need); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.names(t); !slices.Equal(got, test.want) {
				t.Errorf("there are %q, want %q", got, test.want)
			}
			if n := strings.Count(log.String(), "more than the"); n != map[bool]int{false: 0, true: 1}[test.warns] {
				t.Errorf("it warns %d times: %s", n, &log)
			}
		})
	}
}

// Without a limit that is given it is half of what there is room for.
func TestCacheLimitOfADisk(t *testing.T) {
	s := cached(t, io.Discard, map[string]time.Duration{"a": time.Hour})
	limit, err := s.limit(10 << 20)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.Dir, &st); err != nil {
		t.Fatal(err)
	}
	// Others write to that disk, too.
	if all := int64(st.Blocks) * st.Bsize; limit < 5<<20 || limit > all/2+5<<20 {
		t.Errorf("%d of a disk of %d", limit, all)
	}
}

// What a machine is reading stays for as long as that takes.
func TestCacheBeingRead(t *testing.T) {
	s := cached(t, io.Discard, map[string]time.Duration{"read": 25 * time.Hour, "meant": time.Hour})
	s.Size = 1
	file := filepath.Join(s.Dir, artifacts, "read", "initrd")
	if err := os.Truncate(file, 64<<20); err != nil { // more than sockets hold
		t.Fatal(err)
	}
	server, err := netboot.New(netboot.Options{Dir: s.Dir, Source: s.Boot, Reading: s.Reading, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()
	resp, err := http.Get(web.URL + "/artifacts/read/initrd")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	prune := func() {
		t.Helper()
		old := time.Now().Add(-25 * time.Hour)
		if err := os.Chtimes(filepath.Dir(file), old, old); err != nil {
			t.Fatal(err)
		}
		if err := s.prune(map[string]string{"stable": "meant"}, 0); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	if got := s.names(t); !slices.Equal(got, []string{"meant", "read"}) {
		t.Fatalf("there are %q", got)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 63<<20 || err != nil {
		t.Errorf("%d bytes more, %v", n, err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if running, _ := s.use.of("read"); !running {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is being read for ever")
		}
	}
	prune()
	if got := s.names(t); !slices.Equal(got, []string{"meant"}) {
		t.Errorf("there are %q", got)
	}
}
