package netboot

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// originOf returns the absolute URL, with a slash at its end, by which machines
// reach the server that r came to; "" where r does not tell.
func (s *Server) originOf(r *http.Request) string {
	if s.options.URL != "" {
		return s.options.URL
	}
	scheme, host, prefix := "http", r.Host, "/"
	if r.TLS != nil {
		scheme = "https"
	}
	if s.options.Forwarded {
		// Of several proxies the last one to add its value is the nearest.
		first := func(name string) string {
			value, _, _ := strings.Cut(r.Header.Get(name), ",")
			return strings.TrimSpace(value)
		}
		if proto := first("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			scheme = proto
		}
		if name := first("X-Forwarded-Host"); name != "" {
			host = name
		}
		if p := strings.Trim(first("X-Forwarded-Prefix"), "/"); p != "" && plainName(p) {
			prefix = "/" + p + "/"
		}
	}
	if !plainHost(host) {
		return ""
	}
	return scheme + "://" + host + prefix
}

// ParseURL reads the URL by which machines reach a server.
func ParseURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("want http:// or https://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("want no user, query or fragment")
	case !plainHost(u.Host) || !plainName(u.Path):
		return "", errors.New("it has characters that a boot script can't hold")
	}
	return u.Scheme + "://" + u.Host + "/" + strings.Trim(u.Path, "/") + map[bool]string{true: "/"}[strings.Trim(u.Path, "/") != ""], nil
}

// rootOf is the path of an origin: what the names in a script are below.
func rootOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Path == "" {
		return "/"
	}
	return u.Path
}
