package ref

import (
	"net/url"
	"strings"
)

// Parse tells the forms of a reference apart. Errors of this package are of
// class bad-url and one line without credentials.
func Parse(s string) (Location, error) {
	bad := func(why string) (Location, error) {
		return Location{}, newError("image reference %q: %s", Redacted(s), why)
	}
	if s == "" {
		return bad("it is empty")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return bad("it holds control characters")
	}
	for _, tag := range []string{"LABEL", "UUID", "PARTUUID", "PARTLABEL"} {
		if rest, ok := strings.CutPrefix(s, tag+"="); ok {
			return parseDevice(s, tag, rest, bad)
		}
	}
	switch {
	case strings.HasPrefix(s, "/dev/"):
		return parseDevice(s, "DEV", s, bad)
	case strings.HasPrefix(s, "/"):
		return FileAt(s), nil
	}
	if strings.Contains(s, " ") { // which labels and files may have
		return bad("it holds spaces: in a URL they are %20")
	}
	scheme, _, absolute := strings.Cut(s, "://")
	if !absolute || strings.ContainsAny(scheme, "/?#") {
		return Location{Kind: Relative, Raw: s}, nil
	}
	if isArtifact(s) {
		return parseArtifact(s)
	}
	return ParseURL(s)
}

// ParseURL accepts an absolute URL of what is fetched: http, https or tftp.
func ParseURL(s string) (Location, error) {
	u, err := parseURL(s)
	if err != nil {
		return Location{}, err
	}
	return Location{Kind: URL, Raw: s, url: u}, nil
}

func parseDevice(raw, tag, rest string, bad func(string) (Location, error)) (Location, error) {
	// The first ":/" splits: /dev/disk/by-path names hold colons of their own.
	value, path, ok := strings.Cut(rest, ":/")
	if ok {
		path = "/" + path
	}
	if value == "" || value == "/dev/" {
		return bad("it names no device")
	}
	if path == "/" {
		return bad("it names no file on the device")
	}
	return Location{Kind: Device, Raw: raw, Tag: tag, Value: value, Path: path}, nil
}

func parseURL(s string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, newError("%s: %s", Redacted(s), why)
	}
	u, err := url.Parse(withZone(s))
	if err != nil {
		// The parser's own text quotes the whole URL.
		return bad("not a URL")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "tftp":
		return bad("only http, https and tftp are fetched")
	case u.Hostname() == "":
		return bad("it names no host")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// withZone has the zone of an IPv6 address as url.Parse wants it:
// [fe80::1%eth0] is right (RFC 9844), and was [fe80::1%25eth0] before
// (RFC 6874).
func withZone(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	host, path, _ := cutAny(rest, "/?#")
	open := strings.LastIndexByte(host, '[')
	if !ok || open < 0 {
		return s
	}
	address, zone, ok := strings.Cut(host[open:], "%")
	if !ok || strings.HasPrefix(zone, "25") && !strings.HasPrefix(zone, "25]") {
		return s
	}
	return scheme + "://" + host[:open] + address + "%25" + zone + path
}
