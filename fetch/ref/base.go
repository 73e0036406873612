package ref

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Base is what relative references are resolved against, in the order of its
// fields.
type Base struct {
	// Rootfs is rootfs.base=; it names a directory, with or without a slash at
	// its end.
	Rootfs Location
	// BootFile is DHCP's boot file (option 67); its directory counts when it is
	// a URL.
	BootFile string
	// NextServer is DHCP's next-server, an address or name.
	NextServer string
}

// Resolve is what l means with base. Whatever is not relative stays as it is.
func (l Location) Resolve(base Base) (Location, error) {
	if l.Kind != Relative {
		return l, nil
	}
	dir, err := base.dir()
	if err != nil {
		return Location{}, newError("image reference %q is relative, and %v", l, err)
	}
	return l.in(dir)
}

// Origin is what relative references are resolved by, for people.
func (b Base) Origin() string {
	if b.Rootfs.Kind == URL {
		return "rootfs.base="
	}
	if _, err := parseURL(b.BootFile); err == nil {
		return "the boot file that DHCP named"
	}
	return "the server that DHCP named"
}

// in is a relative location in a directory.
func (l Location) in(dir *url.URL) (Location, error) {
	// "./" keeps a colon in the name from being read as a scheme.
	name, err := url.Parse("./" + l.Raw)
	if err != nil {
		return Location{}, newError("image reference %q is not part of a URL", l)
	}
	u := dir.ResolveReference(name)
	u.Fragment, u.RawFragment = "", ""
	return ParseURL(u.String())
}

// dir is the URL of the directory that relative names are in.
func (b Base) dir() (*url.URL, error) {
	if b.Rootfs.Kind == URL {
		return b.Rootfs.url.JoinPath("/"), nil
	}
	if u, err := parseURL(b.BootFile); err == nil {
		return u.ResolveReference(&url.URL{Path: "./"}), nil
	}
	if b.NextServer == "" {
		return nil, fmt.Errorf("there is no rootfs.base=, DHCP named no boot file by URL (%q) and no next-server", b.BootFile)
	}
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

// isName tells whether an address's zone can be part of a URL: whatever
// devices are called, it is by letters, digits and few other signs.
func isName(zone string) bool {
	return !strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%/?#[]<>"{}|\^`+"`", r) })
}
