package poster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/stage1/report"
)

// receiver answers with each of the codes in turn, and keeps what it is sent.
type receiver struct {
	t     *testing.T
	codes []int
	seen  int
	last  report.Report
	user  string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	text, err := io.ReadAll(q.Body)
	if err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" || q.Header.Get("User-Agent") != "netstage/1.0" {
		r.t.Errorf("%v: %s, headers %v", err, q.Method, q.Header)
	}
	if r.last, err = report.Parse(text); err != nil {
		r.t.Error(err)
	}
	user, password, _ := q.BasicAuth()
	r.user = user + ":" + password
	w.WriteHeader(r.codes[min(r.seen, len(r.codes)-1)])
	r.seen++
}

func newPoster(url string, log io.Writer) *Poster {
	return &Poster{URL: url, Dial: new(net.Dialer).DialContext, Agent: "netstage/1.0", Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log)))}
}

func TestPost(t *testing.T) {
	for name, test := range map[string]struct {
		codes []int
		tries int
		want  string // error
	}{
		"at once":              {[]int{204}, 1, ""},
		"the server is coming": {[]int{503, 200}, 2, ""},
		"not taken":            {[]int{404}, 1, "the server answered 404"},
		"no redirect":          {[]int{302}, 1, "the server answered 302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &receiver{t: t, codes: test.codes}
			server := httptest.NewServer(r)
			defer server.Close()
			var log bytes.Buffer
			err := newPoster(strings.Replace(server.URL, "//", "//ops:pass%20word@", 1)+"/reports", &log).Post(t.Context(), report.Report{Version: 1, State: report.Good, Agent: "x"})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if r.seen != test.tries || r.last.Agent != "x" || r.user != "ops:pass word" {
				t.Errorf("%d requests, the last of %+v by %s", r.seen, r.last, r.user)
			}
			if told := log.String() + test.want; strings.Contains(told, "pass") || !strings.Contains(log.String(), "report: sent to "+server.URL) && test.want == "" {
				t.Errorf("log: %s", told)
			}
		})
	}
}

// A server of an authority that the initrd does not know gets nothing.
func TestPostTrusts(t *testing.T) {
	r := &receiver{t: t, codes: []int{200}}
	server := httptest.NewTLSServer(r)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer server.Close()
	p := newPoster(server.URL, io.Discard)
	p.Roots = x509.NewCertPool()
	if _, err := p.once(t.Context(), http.MethodPost, server.URL, []byte("{}")); err == nil || r.seen != 0 {
		t.Errorf("error %v, %d requests", err, r.seen)
	}
	p.Roots.AddCert(server.Certificate())
	if err := p.Post(t.Context(), report.Report{Version: 1, State: report.Good}); err != nil || r.seen != 1 {
		t.Errorf("error %v, %d requests", err, r.seen)
	}
}

// A server that takes the connection and says nothing holds nobody up.
func TestPostIsBounded(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, scheme := range []string{"http://", "https://"} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("over"))
		err := newPoster(scheme+silent.Addr().String(), io.Discard).Post(ctx, report.Report{})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "not sent to "+scheme) {
			t.Errorf("error %v", err)
		}
	}
}

// A server that gives a nonce gets a quote of it, and one that does not gets
// the report without; each gets the token.
func TestQuoteAndToken(t *testing.T) {
	for name, nonce := range map[string]string{"a nonce": "0123abcd\n", "none": "", "no hex": "<html>", "too long": strings.Repeat("00", mostNonce+1)} {
		t.Run(name, func(t *testing.T) {
			var got report.Report
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer geheim" {
					t.Errorf("%s %s without the token", r.Method, r.URL)
				}
				switch {
				case r.Method == http.MethodGet && r.URL.Path == "/reports/nonce" && nonce != "":
					io.WriteString(w, nonce)
				case r.Method == http.MethodGet:
					http.NotFound(w, r)
				default:
					json.NewDecoder(r.Body).Decode(&got)
				}
			}))
			defer server.Close()
			p := newPoster(server.URL+"/reports", io.Discard)
			p.Token = "geheim"
			p.Quote = func(_ context.Context, nonce []byte) (*report.Quote, error) { return &report.Quote{Nonce: nonce}, nil }
			if err := p.Post(t.Context(), report.Report{Version: 1, State: report.Good}); err != nil {
				t.Fatal(err)
			}
			if name == "a nonce" != (got.Quote != nil) || got.Quote != nil && string(got.Quote.Nonce) != "\x01\x23\xab\xcd" {
				t.Errorf("%+v", got.Quote)
			}
		})
	}
}
