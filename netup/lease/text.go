package lease

import (
	"net/netip"
	"slices"
	"strings"
)

// MaxListed bounds every list taken from a server.
const MaxListed = 16

// ValidName keeps anything that is no host or domain name out of files and
// look-ups.
func ValidName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return !strings.Contains(s, "..")
}

// Text trims a string at its first NUL, and blanks and line ends around it. It
// drops it whole when it holds control characters.
func Text(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.Trim(s, " \t\r\n")
	for _, c := range []byte(s) {
		if c < 0x20 || c == 0x7f {
			return ""
		}
	}
	return s
}

// AppendAddr adds an address to a list that does not have it, within bounds.
func AppendAddr(to []netip.Addr, a netip.Addr) []netip.Addr {
	if slices.Contains(to, a) || len(to) == MaxListed {
		return to
	}
	return append(to, a)
}

// AppendName adds a domain to a list that does not have it, within bounds.
func AppendName(to []string, s string) []string {
	if !ValidName(s) || len(to) == MaxListed || slices.ContainsFunc(to, func(have string) bool { return strings.EqualFold(have, s) }) {
		return to
	}
	return append(to, s)
}

// ResolvConf is the text of a resolv.conf for the lease.
func (l Lease) ResolvConf() []byte {
	var b []byte
	if len(l.Search) > 0 {
		b = append(b, "search"...)
		for _, s := range l.Search {
			b = append(append(b, ' '), s...)
		}
		b = append(b, '\n')
	}
	for _, a := range l.DNS {
		b = append(append(append(b, "nameserver "...), a.String()...), '\n')
	}
	return b
}
