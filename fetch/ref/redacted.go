package ref

import (
	"fmt"
	"strings"

	"netstage/stage1/fault"
)

// Redacted is a URL fit for a log: user, password and query (where signatures
// and tokens live) are left out.
func Redacted(s string) string {
	s, _, _ = strings.Cut(s, "#")
	s, _, hasQuery := strings.Cut(s, "?")
	scheme, rest, ok := strings.Cut(s, "://")
	if ok {
		host, path, slash := strings.Cut(rest, "/")
		host = host[strings.LastIndex(host, "@")+1:]
		s = scheme + "://" + host
		if slash {
			s += "/" + path
		}
	}
	if hasQuery {
		s += "?…"
	}
	return s
}

// newError makes an error of one line, whatever is quoted in it.
func newError(format string, args ...any) error {
	return fault.Errorf(fault.BadURL, "%s", strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...)))
}
