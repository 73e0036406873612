package reports

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/stage1/fault"
	"netstage/stage1/report"
)

func open(t testing.TB) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func encode(t testing.TB, r report.Report) []byte {
	t.Helper()
	r.Version = report.Version
	var text bytes.Buffer
	if err := r.Encode(&text); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func good(n int, agent string) report.Report {
	return report.Report{State: report.Good, Agent: agent, Machine: report.Machine{MACs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", n>>8, n&0xff)}}}
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// The newest ten reports of a machine are kept, whatever the clock does.
func TestStoreKeepsTheNewest(t *testing.T) {
	s, dir := open(t)
	if _, err := s.Add(encode(t, good(7, "other")), "192.0.2.1", noon); err != nil {
		t.Fatal(err)
	}
	for n := range 15 {
		at := noon
		if n == 3 {
			at = noon.Add(-time.Hour)
		}
		if _, err := s.Add(encode(t, good(1, fmt.Sprint("v", n))), "192.0.2.1", at); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Last(); err != nil { // what is known is not what is stale
			t.Fatal(err)
		}
	}
	boots, err := s.Last()
	if err != nil || len(boots) != 2 {
		t.Fatalf("%v: %+v", err, boots)
	}
	b := boots[0]
	if b.Machine != "52-54-00-00-00-01" || b.Agent != "v14" || len(b.Earlier) != 9 || b.Earlier[8] != "20261127T120000.005Z" {
		t.Errorf("%+v", b)
	}
	files, _ := filepath.Glob(dir + "/reports/52-54-00-00-00-01/*")
	if len(files) != keep || len(s.known) != keep+1 {
		t.Errorf("%d files, %d known: %v", len(files), len(s.known), files)
	}
}

func TestStoreIsBounded(t *testing.T) {
	s, dir := open(t)
	for n := range most {
		if err := os.Mkdir(fmt.Sprintf("%s/reports/00-00-00-00-%02x-%02x", dir, n>>8, n&0xff), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Add(encode(t, good(1, "")), "192.0.2.1", noon); err != ErrFull {
		t.Errorf("error %v", err)
	}
}

func TestMachine(t *testing.T) {
	for _, test := range []struct {
		macs []string
		uuid string
		want string
	}{
		{[]string{"52:54:00:00:00:02", "52:54:00:00:00:01"}, "x", "52-54-00-00-00-01"},
		{[]string{"00:00:00:00:00:00", "../../etc", "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"}, "4C4C4544-0000-2010-8020-80C04F202020", "4c4c4544-0000-2010-8020-80c04f202020"},
		{nil, "../../../../../../../../../../../etc", ""},
		{nil, "", ""},
	} {
		got, err := Machine(report.Report{Machine: report.Machine{MACs: test.macs, UUID: test.uuid}})
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%v %s: %q, %v", test.macs, test.uuid, got, err)
		}
	}
}

// Whatever a machine says, its files are below its own folder, and its page is
// nothing but text.
func FuzzAdd(f *testing.F) {
	f.Add([]byte(`{"version":1,"state":"good","machine":{"macs":["52:54:00:00:00:01"],"hostname":"<script>"}}`))
	f.Add([]byte(`{"version":1,"state":"failed","machine":{"macs":["../x"],"uuid":"4c4c4544-0000-2010-8020-80c04f202020"},"failure":{"class":"\"><b>"},"steps":[{"name":"\" style=x"}]}`))
	s, dir := open(f)
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text []byte) {
		name, err := s.Add(text, "192.0.2.1", noon)
		if err != nil {
			return
		}
		if parts := strings.Split(name, "/"); len(parts) != 3 || parts[0] != Folder || !isID(parts[1]) {
			t.Errorf("kept as %q", name)
		}
		w := httptest.NewRecorder()
		Handler{Store: s, Log: log, Nonces: NewNonces()}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/reports/", nil))
		html := w.Body.String()
		// The only markup is the page's own: one row, and no attribute more.
		if w.Code != 200 || strings.Contains(html, "<script") || strings.Contains(html, "ZgotmplZ") || strings.Count(html, "<tr") != 2 {
			t.Errorf("%d: %s", w.Code, html)
		}
		if err := os.RemoveAll(filepath.Join(dir, filepath.Dir(name))); err != nil {
			t.Fatal(err)
		}
		clear(s.known)
	})
}

func TestPage(t *testing.T) {
	s, _ := open(t)
	evil := `"><script>alert(1)</script>`
	bad := report.Report{
		State: report.Failed, DurationMS: 62000, Failure: &fault.Failure{Class: "no-lease", Cause: "cause " + evil, Step: evil},
		Machine: report.Machine{MACs: []string{"52:54:00:00:00:09"}, Hostname: evil, Vendor: evil, Serial: evil},
		Steps:   []report.Step{{Name: "network", DurationMS: 31000}, {Name: evil, DurationMS: 1000}},
	}
	for _, r := range []report.Report{good(1, "x"), bad, good(2, "x")} {
		if _, err := s.Add(encode(t, r), "192.0.2.1", noon); err != nil {
			t.Fatal(err)
		}
	}
	get := func(path string) (*httptest.ResponseRecorder, string) {
		w := httptest.NewRecorder()
		Handler{Store: s, Log: slog.New(slog.DiscardHandler), Nonces: NewNonces()}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w, w.Body.String()
	}
	w, html := get("/reports/")
	if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, want := range []string{"Last boot of 3 machines", ">1 failed<", ">2 good<", `class="network" style="width: 50.00%" title="network 31.0 s"`, "network 31.0 s, other 31.0 s", "52-54-00-00-00-09/20261127T120000.000Z.txt"} {
		if !strings.Contains(html, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(html, "<script") || strings.Contains(html, "ZgotmplZ") || t.Failed() {
		t.Error(html)
	}
	if failed, ok := strings.Index(html, `<td class="state failed">`), strings.Index(html, `<td class="state good">`); failed < 0 || ok < failed {
		t.Error("failed boots are not at the top")
	}
	if _, html := get("/reports/?state=good"); strings.Count(html, "<tr id=") != 2 || strings.Contains(html, "no-lease") {
		t.Errorf("of those that are good: %s", html)
	}
	if w, text := get("/reports/52-54-00-00-00-09/20261127T120000.000Z.txt"); w.Code != 200 || !strings.HasPrefix(text, "Failed: no-lease") || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %v: %s", w.Code, w.Header(), text)
	}
	if w, text := get("/reports/52-54-00-00-00-09/20261127T120000.000Z.json"); w.Code != 200 || text != string(encode(t, bad)) || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d: %s", w.Code, text)
	}
	for _, path := range []string{"/reports/52-54-00-00-00-09/.new", "/reports/52-54-00-00-00-09/", "/reports/../x", "/reports/52-54-00-00-00-09/../20261127T120000.000Z.json", "/reports/52-54-00-00-00-0a/20261127T120000.000Z.txt"} {
		if w, _ := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
