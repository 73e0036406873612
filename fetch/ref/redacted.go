package ref

import (
	"fmt"
	"net/url"
	"strings"

	"netstage/stage1/fault"
)

// Redacted is a reference fit for a log: user, password and query (where
// signatures and tokens live) are left out. Of what is no URL, nothing before
// the last @ is kept: where a password has a slash, a question mark or a number
// sign in it, nobody can tell where it ends.
func Redacted(s string) string {
	at := strings.LastIndexByte(s, '@')
	scheme, rest, absolute := strings.Cut(s, "://")
	switch {
	case !absolute && at >= 0 && strings.Contains(s[:at], ":"): // joe:password@proxy:3128
		s = s[at+1:]
	case absolute && at > len(scheme) && !isURL(s):
		s = scheme + "://" + s[at+1:]
	case absolute:
		host, path, _ := cutAny(rest, "/?#")
		s = scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + path
	}
	s, _, _ = strings.Cut(s, "#")
	if name, _, ok := strings.Cut(s, "?"); ok {
		return name + "?…"
	}
	return s
}

// isURL tells whether s is one whose parts are told apart by everybody alike.
func isURL(s string) bool {
	_, err := url.Parse(withZone(s))
	return err == nil
}

// cutAny cuts s before the first of some characters.
func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i:], true
	}
	return s, "", false
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
