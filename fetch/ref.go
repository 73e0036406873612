package fetch

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Kind says where a reference to an image leads.
type Kind int

const (
	// KindURL is an absolute http://, https:// or tftp:// URL.
	KindURL Kind = iota
	// KindRelative is a name to be resolved against a Base.
	KindRelative
	// KindFile is an absolute path in the initramfs.
	KindFile
	// KindDevice is a file on a block device, or the whole device when Path is empty.
	KindDevice
)

// Ref is a parsed reference to an image.
type Ref struct {
	Kind Kind
	// Raw is the reference as written; it may hold credentials.
	Raw string
	// Tag is LABEL, UUID, PARTUUID, PARTLABEL or DEV, for a KindDevice.
	Tag string
	// Value is the label, the UUID, or the device's path.
	Value string
	// Path is the absolute path on the device, or in the initramfs for a KindFile.
	Path string
}

// String is the reference as an operator may see it: without credentials.
func (r Ref) String() string {
	switch r.Kind {
	case KindFile, KindDevice:
		return r.Raw
	}
	return Redacted(r.Raw)
}

// ParseRef tells the forms of a reference apart. Its errors are of class bad-url.
func ParseRef(s string) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, newError(fatal, "bad-url", nil, "image reference %q: %s", Redacted(s), why)
	}
	if s == "" {
		return bad("it is empty")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return bad("it holds spaces or control characters")
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
		return Ref{Kind: KindFile, Raw: s, Path: s}, nil
	}
	scheme, _, absolute := strings.Cut(s, "://")
	if !absolute || strings.ContainsAny(scheme, "/?#") {
		return Ref{Kind: KindRelative, Raw: s}, nil
	}
	if _, err := parseURL(s); err != nil {
		return Ref{}, err
	}
	return Ref{Kind: KindURL, Raw: s}, nil
}

func parseDevice(raw, tag, rest string, bad func(string) (Ref, error)) (Ref, error) {
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
	return Ref{Kind: KindDevice, Raw: raw, Tag: tag, Value: value, Path: path}, nil
}

// parseURL accepts an absolute http, https or tftp URL.
func parseURL(s string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, newError(mirror, "bad-url", nil, "%s: %s", Redacted(s), why)
	}
	u, err := url.Parse(s)
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

// Base is what relative references are resolved against, in the order of its fields.
type Base struct {
	// Rootfs is rootfs.base=; it names a directory, with or without a slash at its end.
	Rootfs string
	// BootFile is DHCP's boot file (option 67); its directory counts when it is a URL.
	BootFile string
	// NextServer is DHCP's next-server, an address or name.
	NextServer string
}

// ResolveRef returns the URL that ref means. Local forms (a path, a file on a device) are an error, and so is a
// relative name when base offers nothing; both say what was missing and are of class bad-url.
func ResolveRef(ref string, base Base) (string, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return "", err
	}
	switch r.Kind {
	case KindURL:
		return ref, nil
	case KindFile, KindDevice:
		return "", newError(fatal, "bad-url", nil, "image reference %q is local, not a URL", ref)
	}
	dir, err := base.dir()
	if err != nil {
		return "", newError(fatal, "bad-url", err, "image reference %q is relative, and %s", Redacted(ref), err)
	}
	// "./" keeps a colon in the name from being read as a scheme.
	name, err := url.Parse("./" + ref)
	if err != nil {
		return "", newError(fatal, "bad-url", nil, "image reference %q is not part of a URL", Redacted(ref))
	}
	u := dir.ResolveReference(name)
	u.Fragment, u.RawFragment = "", ""
	return u.String(), nil
}

// dir is the URL of the directory that relative names are in.
func (b Base) dir() (*url.URL, error) {
	if b.Rootfs != "" {
		u, err := parseURL(b.Rootfs)
		if err != nil {
			return nil, fmt.Errorf("rootfs.base is of no use: %w", err)
		}
		return u.JoinPath("/"), nil
	}
	if u, err := parseURL(b.BootFile); err == nil {
		return u.ResolveReference(&url.URL{Path: "./"}), nil
	}
	if b.NextServer != "" {
		host := b.NextServer
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			if !isName(a.Zone()) {
				return nil, fmt.Errorf("next-server %q names no network device", b.NextServer)
			}
			host = "[" + strings.ReplaceAll(host, "%", "%25") + "]"
		} else if h, _, err := net.SplitHostPort(host); err == nil && h == "" {
			return nil, fmt.Errorf("next-server %q names no host", b.NextServer)
		}
		u, err := parseURL("http://" + host + "/")
		if err != nil {
			return nil, fmt.Errorf("next-server is of no use: %w", err)
		}
		return u, nil
	}
	return nil, fmt.Errorf("there is no rootfs.base=, DHCP named no boot file by URL (%q) and no next-server", b.BootFile)
}

// isName tells whether an address's zone can be part of a URL: whatever devices are called, it is by letters, digits and
// few other signs.
func isName(zone string) bool {
	return !strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%/?#[]<>"{}|\^`+"`", r) })
}

// Redacted is a URL fit for a log: user, password and query (where signatures and tokens live) are left out.
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

// WithSuffix appends suffix to the path of a reference, before its query: rootfs.verity's default.
func WithSuffix(ref, suffix string) string {
	ref, _, _ = strings.Cut(ref, "#")
	if !strings.Contains(ref, "://") {
		if path, query, ok := strings.Cut(ref, "?"); ok && !strings.HasPrefix(ref, "/") && !strings.Contains(path, "=") {
			return path + suffix + "?" + query
		}
		return ref + suffix
	}
	path, query, ok := strings.Cut(ref, "?")
	if ok {
		return path + suffix + "?" + query
	}
	return path + suffix
}
