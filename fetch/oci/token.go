package oci

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"netstage/stage1/fault"
)

// mostToken is the largest answer of a token server that is read, in bytes.
const mostToken = 64 << 10

// token gets one from a token server: by the user and password that are for its
// own origin, where the registry is named too, since it is the one to see the
// token. Else it is asked as anybody. The token is for reading this repository,
// whatever the registry would have it be for.
func (t *transport) token(ctx context.Context, repo *repository, c challenge) (string, error) {
	realm, err := url.Parse(c.params["realm"])
	secure := strings.HasPrefix(repo.origin, "https:")
	switch {
	case err != nil || realm.Hostname() == "" || realm.User != nil || realm.Scheme != "https" && realm.Scheme != "http":
		return "", fault.Errorf(fault.RegistryAuth, "%s names no token server: its realm is no URL", repo.origin)
	case secure && realm.Scheme != "https":
		return "", fault.Errorf(fault.RegistryAuth, "%s sends for a token by http, which is refused", repo.origin)
	}
	query := "scope=" + url.QueryEscape("repository:"+repo.name+":pull")
	if service := c.params["service"]; service != "" {
		query += "&service=" + url.QueryEscape(service)
	}
	if realm.RawQuery != "" {
		query = realm.RawQuery + "&" + query
	}
	realm.RawQuery, realm.Fragment = query, ""
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", fault.Errorf(fault.RegistryAuth, "%s names no token server: its realm is no URL", repo.origin)
	}
	who := "anybody"
	if e, ok := t.secret(repo, realm); ok {
		r.Header.Set("Authorization", basic(e))
		who = "the user " + e.user
	} else if _, named := t.auth.credentials.find(repo.origin, repo.name); named && t.secrets {
		who = "anybody (registry.json does not name " + originOf(realm) + ")"
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer discard(resp)
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode/100 == 5, resp.StatusCode == http.StatusTooManyRequests:
		return "", &busyError{fault.Errorf(fault.HTTP(resp.StatusCode), "the token server %s answers %d %s", realm.Host, resp.StatusCode, http.StatusText(resp.StatusCode)), resp.Header}
	default:
		return "", fault.Errorf(fault.RegistryAuth, "the token server %s answers %d %s to %s%s", realm.Host, resp.StatusCode, http.StatusText(resp.StatusCode), who, codes(resp.Body))
	}
	var answer struct {
		Token       string
		AccessToken string `json:"access_token"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostToken))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fault.Errorf(fault.RegistryAuth, "the token server %s sends no JSON", realm.Host)
	}
	token := answer.Token
	if token == "" {
		token = answer.AccessToken
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.Errorf(fault.RegistryAuth, "the token server %s sends no token", realm.Host)
	}
	return token, nil
}

// A busyError is a token server that can't answer now.
type busyError struct {
	error
	header http.Header
}

func (e *busyError) Unwrap() error { return e.error }

// Header is that of its answer, which may say when to ask again.
func (e *busyError) Header() http.Header { return e.header }

// secret is what a token server may see.
func (t *transport) secret(repo *repository, realm *url.URL) (entry, bool) {
	if !t.secrets {
		return entry{}, false
	}
	own, ok := t.auth.credentials.find(repo.origin, repo.name)
	if ok && originOf(realm) != repo.origin {
		own, ok = t.auth.credentials.find(originOf(realm), repo.name)
	}
	return own, ok && own.user != ""
}

// codes are the causes that a registry gives (distribution-spec 1.1, "Error
// codes"), for a message.
func codes(body io.Reader) string {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	text, err := io.ReadAll(io.LimitReader(body, mostToken))
	if err != nil || json.Unmarshal(text, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	e := answer.Errors[0]
	return ": " + printable(e.Code+" "+e.Message)
}

// printable is what a server sent, fit for a console.
func printable(s string) string {
	const most = 120
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.TrimSpace(s)
}
