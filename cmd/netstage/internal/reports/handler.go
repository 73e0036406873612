package reports

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"netstage/cmd/netstage/internal/attest"
	"netstage/stage1/report"
)

// A Handler answers below /reports: to a POST of a report, with the page of
// all machines, and with a report as text or as it was sent.
type Handler struct {
	Store  *Store
	Log    *slog.Logger
	Nonces *Nonces
	Token  string // that reports have to come with; "": none
	// Keys are those of the machines' TPMs, by the machine; nil: the first that
	// a machine has is believed.
	Keys attest.Keys
	// Expected are what PCRs may be after a boot: any of them; nil: whatever
	// they are.
	Expected []attest.Expected
}

// Serves tells whether a path, without its leading slash, is the handler's.
func Serves(name string) bool { return name == Folder || strings.HasPrefix(name, Folder+"/") }

func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Machines are not trusted: whatever they sent, a browser runs none of it.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/"+Folder), "/")
	switch {
	case r.Method == http.MethodPost && h.Token != "" && !h.authorized(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "reports come with a token here", http.StatusUnauthorized)
	case r.Method == http.MethodPost && name == "":
		h.receive(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "only GET and HEAD; reports are posted to /"+Folder, http.StatusMethodNotAllowed)
	case r.URL.Path == "/"+Folder:
		http.Redirect(w, r, "/"+Folder+"/", http.StatusMovedPermanently)
	case name == "":
		h.page(w, r)
	case name == report.NoncePath:
		answer(w, r, "text/plain", []byte(hex.EncodeToString(h.Nonces.Give(time.Now()))+"\n"))
	default:
		h.one(w, r, name)
	}
}

// authorized tells whether a report comes with the token, in a time that tells
// nothing of it.
func (h Handler) authorized(r *http.Request) bool {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return found && subtle.ConstantTimeCompare([]byte(token), []byte(h.Token)) == 1
}

// receive keeps a report.
func (h Handler) receive(w http.ResponseWriter, r *http.Request) {
	// A form of some web page can't say that it is JSON.
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "want application/json", http.StatusUnsupportedMediaType)
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Second))
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, report.Most))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, fmt.Sprintf("a report has at most %d bytes", report.Most), http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "the report was cut off", http.StatusBadRequest)
		return
	}
	got, err := report.Parse(text)
	id := ""
	if err == nil {
		id, err = Machine(got)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verdict := h.appraise(got, id, time.Now())
	if _, err := h.Store.AddAppraised(text, client(r), time.Now(), verdict); err != nil {
		h.Log.Warn(fmt.Sprintf("report of %s: %v", id, err))
		http.Error(w, "can't be kept", http.StatusInsufficientStorage)
		return
	}
	if f := got.Failure; f != nil {
		h.Log.Warn(fmt.Sprintf("%s failed: %s in step %s: %s", id, f.Class, f.Step, f.Cause))
	} else {
		h.Log.Info(fmt.Sprintf("%s: %s after %s", id, got.State, short(got.DurationMS)))
	}
	if strings.HasPrefix(verdict.Text, unattested) {
		h.Log.Warn(fmt.Sprintf("%s: %s", id, verdict.Text))
	} else if verdict.Text != "" {
		h.Log.Info(fmt.Sprintf("%s: %s", id, verdict.Text))
	}
	w.WriteHeader(http.StatusNoContent)
}

// client is the address of who sends, without the port.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (h Handler) page(w http.ResponseWriter, r *http.Request) {
	boots, err := h.Store.Last()
	if err != nil {
		h.Log.Warn(err.Error())
	}
	var html bytes.Buffer
	if err := page.Execute(&html, viewOf(boots, report.State(r.URL.Query().Get("state")), time.Now())); err != nil {
		h.Log.Warn(err.Error())
		http.Error(w, "the page can't be made", http.StatusInternalServerError)
		return
	}
	answer(w, r, "text/html", html.Bytes())
}

// one answers with MACHINE/NAME.json, or .txt for people.
func (h Handler) one(w http.ResponseWriter, r *http.Request, name string) {
	id, file := path.Split(name)
	text, kind, err := []byte(nil), "application/json", error(fs.ErrNotExist)
	if stem, ok := strings.CutSuffix(file, ".txt"); ok && isReport(id, stem) {
		var got report.Report
		got, err = h.Store.read(path.Join(Folder, id, stem+".json"))
		text, kind = []byte(got.Text(100)), "text/plain"
	} else if stem, ok := strings.CutSuffix(file, ".json"); ok && isReport(id, stem) {
		text, err = h.Store.root.ReadFile(path.Join(Folder, name))
	}
	if err != nil {
		http.Error(w, "no such report", http.StatusNotFound)
		return
	}
	answer(w, r, kind, text)
}

func isReport(dir, name string) bool {
	_, err := time.Parse(stamp, name)
	return isID(strings.TrimSuffix(dir, "/")) && err == nil
}

func answer(w http.ResponseWriter, r *http.Request, kind string, text []byte) {
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	if r.Method == http.MethodGet {
		w.Write(text)
	}
}
