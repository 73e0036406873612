package ref

import (
	"net/url"
	"strings"
)

// Through is where a cache has l: CACHE/http/HOST:PORT/PATH. It is false for
// what can't be had through one: other schemes, and what has a user or a query
// of its own, since a password and a signature are for nobody else. What is in
// the cache already is no further.
func (l Location) Through(cache Location) (Location, bool) {
	u := l.URL()
	if l.Kind != URL || cache.Kind != URL || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return Location{}, false
	}
	dir := cache.URL()
	if u.Host == dir.Host && u.Scheme == dir.Scheme {
		return Location{}, false
	}
	at := *dir // with a query of its own, if it has one
	path := strings.TrimSuffix(dir.EscapedPath(), "/") + "/" + u.Scheme + "/" + u.Host + u.EscapedPath()
	clean, err := url.PathUnescape(path)
	if err != nil {
		return Location{}, false
	}
	at.Path, at.RawPath = clean, path
	out, err := ParseURL(at.String())
	return out, err == nil
}
