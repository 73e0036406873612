package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// A token is a bearer token and the one server that it is for. The file of
// rootfs.token= holds one or a list of them, as JSON: the file is the initrd's,
// and so it says where its secret may go, whatever the command line, DHCP or a
// server name.
type token struct {
	Origin string // such as https://images.example; by http only where it says http
	Token  string
}

// bearer is the token for a URL: none where no token is for its origin, for a
// place that DHCP made, and for a proxy's eyes.
func (g *Getter) bearer(o vouch.Order) (func(*url.URL) string, error) {
	file := g.Config.Token
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(g.Initrd, file))
	if err != nil {
		return nil, fault.Errorf(fault.Policy, "rootfs.token=: %w", err)
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return nil, fault.Errorf(fault.Policy, "rootfs.token=%s: %w", file, err)
	}
	made := g.madeByDHCP()
	of := func(u *url.URL) string {
		origin := originOf(u)
		if slices.Contains(made, origin) || u.Scheme == "http" && g.Config.Proxy != "" {
			return ""
		}
		for _, t := range tokens {
			if t.Origin == origin {
				return t.Token
			}
		}
		return ""
	}
	for _, place := range o.Places() {
		u := place.URL()
		switch {
		case u == nil:
		case of(u) == "":
			g.log().Warn("no token goes to " + place.String() + ": " + file + " does not name it, or DHCP did, or a proxy would see it")
		case u.Scheme == "http":
			g.log().Warn("the token goes to " + place.String() + " unencrypted: whoever sees it can use it")
		}
	}
	return of, nil
}

// ReportToken is the token for the server of boot.report=, of a file of the
// initrd; "" where the file is not there, or names other servers.
func ReportToken(reportTo, initrd string) (string, error) {
	u, err := url.Parse(reportTo)
	if err != nil || reportTo == "" {
		return "", err
	}
	file := filepath.Join(initrd, config.ReportToken)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	for _, t := range tokens {
		if t.Origin == originOf(u) {
			return t.Token, nil
		}
	}
	return "", nil
}

// madeByDHCP are the origins that relative references mean by what DHCP said.
func (g *Getter) madeByDHCP() []string {
	base := g.base()
	name, err := ref.Parse("x")
	if err != nil || base.Rootfs.Kind == ref.URL {
		return nil
	}
	place, err := name.Resolve(base)
	if err != nil {
		return nil
	}
	return []string{originOf(place.URL())}
}

// parseTokens reads a token file. Its errors quote nothing of it: it may be
// another one.
func parseTokens(text []byte) ([]token, error) {
	var tokens []token
	one := bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
	if one {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&tokens)
	if _, more := d.Token(); err != nil || more != io.EOF || len(tokens) == 0 {
		return nil, errors.New(`it does not say where the token may go: want {"origin": "https://HOST", "token": "TOKEN"}, or a list of such`)
	}
	for i, t := range tokens {
		u, err := url.Parse(t.Origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("an origin in it is not of the form https://HOST or https://HOST:PORT")
		}
		tokens[i].Origin = originOf(u)
		if tokens[i].Token, err = fetch.ParseToken([]byte(t.Token)); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// originOf is scheme, host and port (RFC 6454, 4).
func originOf(u *url.URL) string { return fetch.Origin(u) }
