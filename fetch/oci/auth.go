package oci

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"

	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// Auth asks registries as each of them wants to be asked: by a token that its
// token server gives (distribution-spec's token authentication), or by user and
// password. What a registry took once it is given again, until it refuses it:
// then a new token is got, in the middle of a download too.
type Auth struct {
	credentials Credentials
	mu          sync.Mutex
	registries  []*repository
}

// NewAuth makes one with credentials.
func NewAuth(c Credentials) *Auth { return &Auth{credentials: c} }

// A repository is who may be given what was got for it, and no one else: not
// where it redirects to, for one.
type repository struct {
	origin, name string
	known, plain slot // with credentials, and without
}

// slot is the Authorization that was taken last.
type slot struct {
	turn  chan struct{} // one gets a token, the others wait for it
	mu    sync.Mutex
	value string
	asked []challenge // what it is the answer to
}

func (s *slot) get() (value string, asked []challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, s.asked
}

func (s *slot) set(value string, asked []challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.asked = value, asked
}

// Add has requests for an artifact's repository seen to.
func (a *Auth) Add(x ref.Artifact) {
	l, err := x.Manifest()
	if err != nil {
		return // there is nothing to ask for
	}
	r := &repository{origin: originOf(l.URL()), name: x.Name}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.registries {
		if other.origin == r.origin && other.name == r.name {
			return
		}
	}
	r.known.turn, r.plain.turn = make(chan struct{}, 1), make(chan struct{}, 1)
	a.registries = append(a.registries, r)
}

// Transport sends requests by base. Without secrets nothing of the credentials
// is used: nobody knows who is at the other end.
func (a *Auth) Transport(base http.RoundTripper, secrets bool) http.RoundTripper {
	return &transport{a, base, secrets}
}

type transport struct {
	auth    *Auth
	base    http.RoundTripper
	secrets bool
}

// repository is the one that a request is for, nil for all other requests.
func (a *Auth) repository(r *http.Request) *repository {
	a.mu.Lock()
	defer a.mu.Unlock()
	if origin := originOf(r.URL); r.Header.Get("Authorization") == "" {
		for _, repo := range a.registries {
			if repo.origin == origin && strings.HasPrefix(r.URL.Path, "/v2/"+repo.name+"/") {
				return repo
			}
		}
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	repo := t.auth.repository(r)
	if repo == nil {
		return t.base.RoundTrip(r)
	}
	s := &repo.plain
	if t.secrets {
		s = &repo.known
	}
	used, asked := s.get()
	resp, err := t.base.RoundTrip(with(r, used))
	if err != nil || !refused(resp, used) {
		return resp, err
	}
	wanted := challenges(resp.Header.Values("WWW-Authenticate"))
	if len(wanted) == 0 {
		wanted = asked
	}
	if len(wanted) == 0 {
		return resp, nil
	}
	discard(resp)
	fresh, err := t.renew(r.Context(), repo, s, used, wanted)
	if err != nil {
		return nil, err
	}
	resp, err = t.base.RoundTrip(with(r, fresh))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	defer discard(resp)
	return nil, fault.Errorf(fault.RegistryAuth, "%s does not let %s read %s%s", r.URL.Host, t.who(repo), repo.name, codes(resp.Body))
}

// refused tells whether a registry wants to be asked otherwise. Some say 403 of
// a token that ran out, where distribution-spec has 401.
func refused(resp *http.Response, used string) bool {
	return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden && strings.HasPrefix(used, "Bearer ")
}

// CloseIdleConnections is what http.Client's calls.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// who is the one that a registry hears of.
func (t *transport) who(repo *repository) string {
	if e, ok := t.auth.credentials.find(repo.origin, repo.name); ok && t.secrets {
		if e.user == "" {
			return "the bearer of the token in registry.json"
		}
		return "the user " + e.user
	}
	return "anybody (registry.json has nobody for " + repo.origin + ")"
}

// renew gets another value than the one that was refused. Somebody else may
// have got it meanwhile.
func (t *transport) renew(ctx context.Context, repo *repository, s *slot, used string, wanted []challenge) (string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if now, _ := s.get(); now != used {
		return now, nil
	}
	value, err := t.answer(ctx, repo, wanted)
	if err == nil {
		s.set(value, wanted)
	}
	return value, err
}

// answer is what to send to a registry that wants one of some challenges.
func (t *transport) answer(ctx context.Context, repo *repository, wanted []challenge) (string, error) {
	e, named := t.auth.credentials.find(repo.origin, repo.name)
	named = named && t.secrets
	if named && e.token != "" {
		return "Bearer " + e.token, nil
	}
	for _, c := range wanted {
		if c.scheme == "bearer" {
			token, err := t.token(ctx, repo, c)
			return "Bearer " + token, err
		}
	}
	for _, c := range wanted {
		switch {
		case c.scheme != "basic":
		case named:
			return basic(e), nil
		default:
			return "", fault.Errorf(fault.RegistryAuth, "%s wants a user and a password, and registry.json has none for it", repo.origin)
		}
	}
	return "", fault.Errorf(fault.RegistryAuth, "%s wants to be asked by %q, which is neither Bearer nor Basic", repo.origin, wanted[0].scheme)
}

func basic(e entry) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(e.user+":"+e.password))
}

// with is a copy of a request that is authorized.
func with(r *http.Request, authorization string) *http.Request {
	if authorization == "" {
		return r
	}
	own := *r
	own.Header = r.Header.Clone()
	own.Header.Set("Authorization", authorization)
	return &own
}

// discard lets a connection be used again, if little is left to read.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}
