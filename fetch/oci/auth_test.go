package oci

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

func TestChallenges(t *testing.T) {
	for _, c := range []struct {
		header string
		want   []challenge
	}{
		{`Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"`, []challenge{
			{"bearer", map[string]string{"realm": "https://auth.example/token", "service": "r.example", "scope": "repository:a/b:pull,push"}}}},
		{`basic REALM = "x \"y\" \\z"`, []challenge{{"basic", map[string]string{"realm": `x "y" \z`}}}},
		{`Negotiate, Basic realm=simple, Bearer realm="u" , error="invalid_token"`, []challenge{
			{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "simple"}}, {"bearer", map[string]string{"realm": "u", "error": "invalid_token"}}}},
		{`Bearer realm="a",realm="b"`, []challenge{{"bearer", map[string]string{"realm": "a"}}}},
		{`Bearer realm="no end`, []challenge{{"bearer", map[string]string{"realm": "no end"}}}},
		{`Bearer`, []challenge{{"bearer", map[string]string{}}}},
		{`, ,`, nil}, {``, nil}, {`"x"`, nil},
	} {
		if got := challenges([]string{c.header}); !cmp.Equal(got, c.want, cmp.AllowUnexported(challenge{})) {
			t.Errorf("%s: %+v", c.header, got)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example/token",service="r",scope="x", Basic realm=y`)
	f.Add(`Bearer realm="\`)
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range challenges([]string{header}) {
			if c.scheme == "" || c.params == nil {
				t.Errorf("%q: %+v", header, c)
			}
		}
	})
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestCredentials(t *testing.T) {
	c, err := ParseCredentials([]byte(`{"credsStore": "desktop", "auths": {
		"r.example": {"auth": "` + b64("joe:ge:heim") + `", "email": "x"},
		"R.example:5000/team": {"username": "t", "password": "team"},
		"r.example:5000": {"username": "u", "password": "all"},
		"http://10.0.0.1:5000/v2/": {"auth": "` + b64("plain:p") + `"},
		"https://index.docker.io/v1/": {"auth": "` + b64("hub:h") + `"},
		"t.example": {"registrytoken": "tok"},
		"store.example": {}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ origin, name, want string }{
		{"https://r.example:443", "x", "joe:ge:heim"},
		{"https://r.example:5000", "team/x", "t:team"},
		{"https://r.example:5000", "teamster/x", "u:all"},
		{"http://r.example:80", "x", ""},
		{"http://10.0.0.1:5000", "x", "plain:p"},
		{"https://10.0.0.1:5000", "x", ""},
		{"https://registry-1.docker.io:443", "x", "hub:h"},
		{"https://auth.docker.io:443", "x", "hub:h"},
		{"https://t.example:443", "x", ":tok"},
		{"https://store.example:443", "x", ""},
	} {
		e, ok := c.find(test.origin, test.name)
		if got := e.user + ":" + e.password + e.token; ok && got != test.want || !ok && test.want != "" {
			t.Errorf("%s %s: %q", test.origin, test.name, got)
		}
	}
	if secure := c.Secure(); len(secure.entries) != len(c.entries)-1 {
		t.Errorf("%+v goes by https", secure)
	}
	for _, text := range []string{"", "geheim", "[]", `{"auths": []}`, `{"auths": {"r": {"auth": "geheim"}}}`, `{"auths": {"r": {"auth": "` + b64("geheim") + `"}}}`,
		`{"auths": {"ftp://r": {"auth": "` + b64("u:geheim") + `"}}}`, `{"auths": {"http://u:geheim@r": {}}}`, `{"auths": {"r": {"identitytoken": "geheim"}}}`,
		`{"auths": {"": {"username": "geheim"}}}`, `{"auths": {"r": {"username": "a", "password": "geheim\n"}}}`, `{"auths": {"r": {"username": "a:b", "password": "geheim"}}}`} {
		if c, err := ParseCredentials([]byte(text)); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add(`{"auths": {"r.example:5000/x": {"auth": "` + b64("u:p") + `"}, "https://index.docker.io/v1/": {"username": "a", "password": "b"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCredentials([]byte(text))
		for _, e := range c.entries {
			if err == nil && !strings.HasPrefix(e.origin, "http") {
				t.Errorf("%q may have what %q says", e.origin, text)
			}
		}
	})
}

// registry wants to see what is right, and tells what it saw.
type registry struct {
	*httptest.Server
	mu    sync.Mutex
	right string
	want  string // WWW-Authenticate
	seen  []string
}

func newRegistry(t *testing.T, want string) *registry {
	r := &registry{want: want}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, q.URL.Path+" "+q.Header.Get("Authorization"))
		switch {
		case q.URL.Path == "/v2/a/moved":
			http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect)
		case strings.HasPrefix(q.URL.Path, "/v2/") && q.Header.Get("Authorization") != r.right:
			w.Header().Set("WWW-Authenticate", r.want)
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "log in\u0007"}]}`)
		default:
			io.WriteString(w, "blob")
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *registry) allow(authorization string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.right, r.seen = authorization, nil
}

func (r *registry) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// tokens is a token server that counts its tokens.
func tokens(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *httptest.Server {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, int(n.Add(1))) }))
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, r *registry, config string, secrets bool) *http.Client {
	t.Helper()
	c, err := ParseCredentials([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuth(c)
	a.Add(ref.Artifact{Host: strings.TrimPrefix(r.URL, "http://"), Name: "a", Tag: "x", Plain: true})
	return &http.Client{Transport: a.Transport(http.DefaultTransport, secrets)}
}

func get(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func login(url, user string) string {
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, url, b64(user))
}

func TestBasic(t *testing.T) {
	r := newRegistry(t, `Basic realm="x"`)
	right := "Basic " + b64("joe:pw")
	r.allow(right)
	c := client(t, r, login(r.URL, "joe:pw"), true)
	for range 2 {
		if err := get(c, r.URL+"/v2/a/blobs/x"); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.log(), []string{"/v2/a/blobs/x ", "/v2/a/blobs/x " + right, "/v2/a/blobs/x " + right}; !slices.Equal(got, want) {
		t.Errorf("asked by %q", got)
	}
	// Where it redirects to, and what is no part of the repository, sees
	// nothing.
	r.allow(right)
	if err := errors.Join(get(c, r.URL+"/v2/a/moved"), get(c, r.URL+"/x")); err != nil {
		t.Error(err)
	}
	if err := get(c, r.URL+"/v2/b/x"); err == nil {
		t.Error("another repository was asked by the credentials of this one")
	}
	if got := r.log(); !slices.Contains(got, "/elsewhere ") || !slices.Contains(got, "/x ") || !slices.Contains(got, "/v2/b/x ") {
		t.Errorf("%q", got)
	}
	for name, test := range map[string]struct {
		config  string
		secrets bool
		says    string
	}{
		"wrong password":   {login(r.URL, "joe:geheim"), true, "does not let the user joe read a: UNAUTHORIZED log in"},
		"none":             {`{}`, true, "registry.json has none for it"},
		"for https alone":  {login(strings.TrimPrefix(r.URL, "http://"), "joe:pw"), true, "registry.json has none for it"},
		"nobody knows who": {login(r.URL, "joe:pw"), false, "registry.json has none for it"},
	} {
		r.allow(right)
		err := get(client(t, r, test.config, test.secrets), r.URL+"/v2/a/blobs/x")
		if fault.ClassOf(err) != fault.RegistryAuth || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", name, err)
		}
		if seen := fmt.Sprint(r.log()); !test.secrets && strings.Contains(seen, "Basic") {
			t.Errorf("%s: %s", name, seen)
		}
	}
}

// A token that is refused is replaced, once for all who ask at that time.
func TestTokenIsRenewed(t *testing.T) {
	var asked []string
	auth := tokens(t, func(w http.ResponseWriter, r *http.Request, n int) {
		asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"token": "t%d", "expires_in": 1}`, n)
	})
	r := newRegistry(t, `Bearer realm="`+auth.URL+`/token?x=1",service="reg",scope="repository:other:push"`)
	r.allow("Bearer t1")
	c := client(t, r, `{}`, true)
	if err := get(c, r.URL+"/v2/a/blobs/x"); err != nil {
		t.Fatal(err)
	}
	r.allow("Bearer t2")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := get(c, r.URL+"/v2/a/blobs/x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if want := "x=1&scope=repository%3Aa%3Apull&service=reg "; len(asked) != 2 || asked[0] != want || asked[1] != want {
		t.Errorf("%q", asked)
	}
}

// A token server sees the user and password that registry.json has for it, if
// it has any for the registry, too, which will see the token.
func TestWhoSeesThePassword(t *testing.T) {
	var seen atomic.Value
	auth := tokens(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		seen.Store(r.Header.Get("Authorization"))
		io.WriteString(w, `{"access_token": "t"}`)
	})
	r := newRegistry(t, `Bearer realm="`+auth.URL+`/token"`)
	both := fmt.Sprintf(`{"auths": {%q: {"auth": %q}, %q: {"auth": %q}}}`, r.URL, b64("registry:1"), auth.URL, b64("tokens:2"))
	for name, test := range map[string]struct {
		config  string
		secrets bool
		want    string
	}{
		"both":             {both, true, "Basic " + b64("tokens:2")},
		"the registry":     {login(r.URL, "registry:1"), true, ""},
		"the token server": {login(auth.URL, "tokens:2"), true, ""},
		"nobody knows who": {both, false, ""},
	} {
		r.allow("Bearer t")
		if err := get(client(t, r, test.config, test.secrets), r.URL+"/v2/a/blobs/x"); err != nil || seen.Load() != test.want {
			t.Errorf("%s: the token server saw %q, %v", name, seen.Load(), err)
		}
	}
	// A token for the registry itself needs no server.
	r.allow("Bearer mine")
	if err := get(client(t, r, fmt.Sprintf(`{"auths": {%q: {"registrytoken": "mine"}}}`, r.URL), true), r.URL+"/v2/a/x"); err != nil {
		t.Error(err)
	}
}

func TestNoToken(t *testing.T) {
	answer := func(status int, text string) *httptest.Server {
		return tokens(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(status)
			io.WriteString(w, text)
		})
	}
	for name, test := range map[string]struct {
		header, says string
	}{
		"refused":      {`Bearer realm="` + answer(401, `{"errors": [{"code": "DENIED", "message": "no"}]}`).URL + `"`, "answers 401 Unauthorized to anybody: DENIED no"},
		"no JSON":      {`Bearer realm="` + answer(200, "<html>").URL + `"`, "sends no JSON"},
		"none":         {`Bearer realm="` + answer(200, "{}").URL + `"`, "sends no token"},
		"odd":          {`Bearer realm="` + answer(200, `{"token": "a b"}`).URL + `"`, "sends no token"},
		"not taken":    {`Bearer realm="` + answer(200, `{"token": "wrong"}`).URL + `"`, "does not let anybody"},
		"redirected":   {`Bearer realm="` + answer(302, "").URL + `"`, "answers 302 Found"},
		"busy":         {`Bearer realm="` + answer(503, "").URL + `"`, "Service Unavailable"},
		"no realm":     {`Bearer service="x"`, "its realm is no URL"},
		"ftp":          {`Bearer realm="ftp://x/"`, "its realm is no URL"},
		"no challenge": {`Digest realm="x"`, `by "digest"`},
	} {
		r := newRegistry(t, test.header)
		r.allow("Bearer right")
		err := get(client(t, r, `{}`, true), r.URL+"/v2/a/x")
		if err == nil || !strings.Contains(err.Error(), test.says) || fault.ClassOf(err) != map[bool]fault.Class{true: "http-503", false: fault.RegistryAuth}[name == "busy"] {
			t.Errorf("%s: %v", name, err)
		}
	}
	// By https one does not fall to http.
	tr := NewAuth(Credentials{}).Transport(nil, true).(*transport)
	_, err := tr.token(t.Context(), &repository{origin: "https://r:443", name: "a"}, challenge{"bearer", map[string]string{"realm": "http://r/token"}})
	if fault.ClassOf(err) != fault.RegistryAuth || !strings.Contains(err.Error(), "by http, which is refused") {
		t.Error(err)
	}
}
