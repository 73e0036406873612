package fetch

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/stage1/fault"
)

// TestSecretsStayWithTheirServer has a server redirect to another one: token,
// password and query are not for that.
func TestSecretsStayWithTheirServer(t *testing.T) {
	content := imageBytes(100_000)
	for name, secret := range map[string]func(*Request){
		"bearer": func(r *Request) { r.Bearer = func(*url.URL) string { return "geheim" } },
		"password": func(r *Request) {
			r.Mirrors = mirrors(strings.Replace(r.Mirrors[0].Raw, "http://", "http://joe:geheim@", 1))
		},
		"query": func(r *Request) { r.Mirrors = mirrors(r.Mirrors[0].Raw + "?key=geheim") },
	} {
		t.Run(name, func(t *testing.T) {
			other := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 70_000}, faulty.Behaviour{Status: 503})
			first := serve(t, content, faulty.Behaviour{Location: other.URL("y"), Times: -1})
			r, log := quick(t, content, first.URL("x"))
			secret(&r)
			var told []string
			r.Progress = func(p Progress) { told = append(told, fmt.Sprintf("%s %+v", p, p)) }
			image := mustGet(t, r, content)
			for _, e := range first.Log() {
				if name != "query" && e.Auth == "" {
					t.Errorf("the server was not given what it wants: %+v", e)
				}
			}
			for _, e := range other.Log() {
				if e.Auth != "" || e.Referer != "" {
					t.Errorf("the other server was given %q and the referer %q", e.Auth, e.Referer)
				}
			}
			for _, text := range append(told, log.String(), image.Source) {
				if strings.Contains(text, "geheim") || strings.Contains(text, "joe") {
					t.Errorf("the secret is told: %s", text)
				}
			}
			// Where it is refused, neither the error nor what was tried tells
			// it.
			first = serve(t, content, faulty.Behaviour{Status: 401, Times: -1})
			r, _ = quick(t, content, first.URL("x"))
			secret(&r)
			err := mustFail(t, r, "http-401")
			if text := fmt.Sprintf("%v %q %+v", err, fault.TriedOf(err), err.Progress()); strings.Contains(text, "geheim") {
				t.Errorf("the secret is told: %s", text)
			}
		})
	}
	t.Run("a redirect on the same server keeps the token", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Location: "/y"})
		r, _ := quick(t, content, s.URL("x"))
		r.Bearer = func(*url.URL) string { return "geheim" }
		mustGet(t, r, content)
		if l := s.Log(); len(l) != 2 || l[1].Auth != "Bearer geheim" {
			t.Errorf("%+v", l)
		}
	})
}

func TestParseToken(t *testing.T) {
	for text, want := range map[string]string{
		"abc\n": "abc", " a-._~+/9== \r\n": "a-._~+/9==",
		"": "", "=": "", "two words": "", "a=b": "", "a\x00": "", "-----BEGIN PRIVATE KEY-----\nabc\n": "", strings.Repeat("x", 9000): "",
	} {
		got, err := ParseToken([]byte(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte("abc=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := ParseToken(text)
		if strings.ContainsAny(token, " \r\n\t\x00\"") || (err == nil) != (token != "") {
			t.Errorf("%q became %q, %v", text, token, err)
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), string(text)) {
			t.Errorf("the error quotes the file: %v", err)
		}
	})
}
