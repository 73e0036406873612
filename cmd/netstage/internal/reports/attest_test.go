package reports

import (
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/internal/attest"
	"netstage/stage1/fault"
	"netstage/stage1/report"
	"netstage/stage1/tpm"
	"netstage/stage1/tpm/swtpm"
)

// What the server says of a machine's quotes, and shows on its page: by a real
// TPM, and with what somebody between could do.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	h := Handler{Store: s, Log: slog.New(slog.DiscardHandler), Nonces: NewNonces()}
	ask := func(method, path string, body string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		return w
	}
	nonce := func() []byte {
		text := strings.TrimSpace(ask(http.MethodGet, "/reports/"+report.NoncePath, "").Body.String())
		nonce, err := hex.DecodeString(text)
		if err != nil || len(nonce) != 32 {
			t.Fatalf("nonce %q: %v", text, err)
		}
		return nonce
	}
	quote := func(machine *tpm.TPM, nonce []byte) *report.Quote {
		q, err := swtpm.Quote(machine, nonce)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	post := func(q *report.Quote, want string) {
		t.Helper()
		r := good(1, "")
		r.Quote = q
		if w := ask(http.MethodPost, "/reports", string(encode(t, r))); w.Code != http.StatusNoContent {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if page := ask(http.MethodGet, "/reports/", "").Body.String(); want != "" && !strings.Contains(page, ">"+want) || want == "" && strings.Contains(page, "attested") {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	one, _ := swtpm.Start(t, t.TempDir())
	other, _ := swtpm.Start(t, t.TempDir())

	post(nil, "")
	earlier := quote(one, nonce())
	post(earlier, Quoted+first)
	post(earlier, unattested+": the nonce is not of this server, or is used up")
	post(quote(one, make([]byte, 32)), unattested+": the nonce is not of this server")
	if page := ask(http.MethodGet, "/reports/", "").Body.String(); strings.Contains(page, "not known before") {
		t.Error("a later report is of a TPM not known before")
	}
	post(quote(other, nonce()), unattested+": signed by another TPM than before")
	wrong := quote(one, nonce())
	wrong.PCRs[8].SHA256 = strings.Repeat("1", 64)
	post(wrong, unattested+": quote: the values are not those")

	h.Expected = []attest.Expected{{Version: 1, PCRs: []report.PCR{{Index: 8, SHA256: strings.Repeat("0", 64)}}}}
	post(quote(one, nonce()), Attested+"<")
	post(nil, unattested+": the report has no quote")
	// Whose TPM it is, is known before it signs anything.
	of := func(machine *tpm.TPM) string {
		q, err := attest.Verify(*quote(machine, nil))
		if err != nil {
			t.Fatal(err)
		}
		return q.Key
	}
	id, err := Machine(good(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	h.Keys = attest.Keys{id: of(one)}
	post(quote(one, nonce()), Attested+"<")
	post(quote(other, nonce()), unattested+": signed by another TPM than the one that is enrolled, key "+of(other))
	h.Keys = attest.Keys{"aa-bb-cc-dd-ee-ff": of(one)}
	post(quote(one, nonce()), unattested+": signed by a TPM that is not enrolled")
	h.Keys = nil

	if err := one.Extend(8, []tpm.Algorithm{tpm.SHA256}, []byte("another command line")); err != nil {
		t.Fatal(err)
	}
	post(quote(one, nonce()), unattested+": PCR 8 is")

	// A boot that failed is judged as well, by what it had measured until then.
	failed := good(1, "")
	failed.State, failed.Failure = report.Failed, &fault.Failure{Class: fault.NoInit, Step: "root", Cause: "x"}
	failed.Quote = quote(one, nonce())
	if v := h.appraise(failed, id, time.Now()); !strings.HasPrefix(v.Text, unattested+": PCR 8 is") {
		t.Errorf("a failed boot with another PCR 8: %q", v.Text)
	}
	failed.Quote = quote(one, nonce())
	h.Expected[0].Earlier = []report.PCR{{Index: 8, SHA256: failed.Quote.PCRs[8].SHA256}}
	if v := h.appraise(failed, id, time.Now()); v.Text != Attested+early {
		t.Errorf("a failed boot before its image: %q", v.Text)
	}
	failed.Quote = quote(one, nonce())
	h.Expected[0].PCRs = h.Expected[0].Earlier
	if v := h.appraise(failed, id, time.Now()); v.Text != Attested {
		t.Errorf("a failed boot with all as expected: %q", v.Text)
	}
	failed.Quote = nil
	if v := h.appraise(failed, id, time.Now()); v.Text != unattested+": the report has no quote of a TPM" {
		t.Errorf("a failed boot without a quote: %q", v.Text)
	}

	// Of old reports nothing is left.
	for range keep {
		post(nil, unattested)
	}
	files, err := filepath.Glob(filepath.Join(dir, "reports/*/*"))
	if err != nil || len(files) != 2*keep+1 {
		t.Errorf("%d files, %v: %q", len(files), err, files)
	}
}

// A nonce is good once, for two minutes, and nobody else makes one.
func TestNonces(t *testing.T) {
	n, now := NewNonces(), time.Now()
	nonce := n.Give(now)
	forged := append([]byte{nonce[0] ^ 1}, nonce[1:]...)
	for name, c := range map[string]struct {
		nonce []byte
		at    time.Time
		want  bool
	}{
		"another's": {NewNonces().Give(now), now, false}, "forged": {forged, now, false}, "none": {nil, now, false},
		"too late": {nonce, now.Add(nonceTime + time.Second), false}, "too early": {nonce, now.Add(-time.Second), false},
	} {
		if n.Take(c.nonce, c.at) != c.want {
			t.Errorf("%s", name)
		}
	}
	if !n.Take(nonce, now.Add(time.Second)) || n.Take(nonce, now.Add(2*time.Second)) {
		t.Error("a nonce is not good for exactly once")
	}
}

// With a token nobody else's reports are taken; whoever may read still does.
func TestReportToken(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	h := Handler{Store: s, Log: slog.New(slog.DiscardHandler), Nonces: NewNonces(), Token: "geheim"}
	for authorization, want := range map[string]int{
		"": http.StatusUnauthorized, "Bearer": http.StatusUnauthorized, "Bearer gehei": http.StatusUnauthorized, "Basic geheim": http.StatusUnauthorized,
		"Bearer geheim2": http.StatusUnauthorized, "Bearer geheim": http.StatusNoContent,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/reports", strings.NewReader(string(encode(t, good(1, "")))))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", authorization)
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", authorization, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/reports/", nil)); w.Code != http.StatusOK {
		t.Errorf("the page: %d", w.Code)
	}
}
