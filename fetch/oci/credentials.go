package oci

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Credentials are the users and passwords for registries, each for one origin.
type Credentials struct {
	entries []entry
}

type entry struct {
	origin, path   string
	user, password string
	token          string // to be sent as it is, instead
}

// MostCredentials is the largest file of credentials that is read, in bytes.
const MostCredentials = 1 << 20

// ParseCredentials reads a config.json of docker's, as "docker login" writes
// it. Each key is where its secret may go, and nowhere else: a host means
// https, and only a key that says http:// means http. Errors quote nothing of
// the file: it may be another one.
func ParseCredentials(text []byte) (Credentials, error) {
	var file struct {
		Auths map[string]struct {
			Auth, Username, Password, IdentityToken, RegistryToken string
		}
	}
	var c Credentials
	if err := json.Unmarshal(text, &file); err != nil {
		return c, errors.New(`it is no JSON of the form {"auths": {"HOST": {"auth": "…"}}}`)
	}
	for key, a := range file.Auths {
		origins, path, err := places(key)
		if err != nil {
			return c, err
		}
		e := entry{path: path, user: a.Username, password: a.Password, token: a.RegistryToken}
		if a.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(strings.TrimRight(a.Auth, "\x00"))
			user, password, ok := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
			if err != nil || !ok {
				return c, errors.New("an auth in it is not the base64 of USER:PASSWORD")
			}
			e.user, e.password = user, password
		}
		switch {
		case a.IdentityToken != "":
			return c, errors.New("an identitytoken in it stands for a login that only its owner's program can renew: use a user and a password, or a token of the registry's for machines")
		case strings.ContainsFunc(e.user+e.password+e.token, func(r rune) bool { return r < ' ' || r == 0x7f }), strings.Contains(e.user, ":"):
			return c, errors.New("a user, password or token in it has signs that can't be sent")
		case e.user == "" && e.token == "":
			continue // credsStore has it, which is a program of docker's
		}
		for _, e.origin = range origins {
			c.entries = append(c.entries, e)
		}
	}
	return c, nil
}

// hub are the origins of what docker's tools call by its first one.
var hub = [...]string{"https://index.docker.io:443", "https://registry-1.docker.io:443", "https://auth.docker.io:443", "https://docker.io:443"}

// places are what a key stands for: an origin, or Docker Hub's, and the
// beginning of the repositories' names.
func places(key string) (origins []string, path string, err error) {
	text := key
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", errors.New("a key of its auths is not of the form HOST, HOST:PORT or http://HOST:PORT")
	}
	path = strings.Trim(u.Path, "/")
	if path == "v1" || path == "v2" { // the registry as such
		path = ""
	}
	origin := originOf(u)
	for _, name := range hub {
		if name == origin {
			return hub[:], path, nil
		}
	}
	return []string{origin}, path, nil
}

// find finds what may be sent to an origin for a repository: of several the one
// that says most.
func (c Credentials) find(origin, repository string) (found entry, ok bool) {
	for _, e := range c.entries {
		if e.origin == origin && (e.path == "" || e.path == repository || strings.HasPrefix(repository, e.path+"/")) &&
			(!ok || len(e.path) > len(found.path)) {
			found, ok = e, true
		}
	}
	return found, ok
}

// Places are where they may go.
func (c Credentials) Places() (all []string) {
	for _, e := range c.entries {
		all = append(all, strings.TrimSuffix(e.origin+"/"+e.path, "/"))
	}
	slices.Sort(all)
	return all
}

// Secure are those that go by https.
func (c Credentials) Secure() Credentials {
	return Credentials{slices.DeleteFunc(slices.Clone(c.entries), func(e entry) bool { return !strings.HasPrefix(e.origin, "https:") })}
}

// originOf is scheme, host and port (RFC 6454, 4).
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
