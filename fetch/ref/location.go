// Package ref is where an image, its tree or its manifest is: a reference as
// an operator writes it, parsed once and carried as a value from there to the
// socket.
package ref

import (
	"net/url"
	"path"
	"strings"
)

// Kind says where a location is.
type Kind int

const (
	// URL is an absolute http://, https:// or tftp:// URL.
	URL Kind = iota + 1
	// Relative is a name to be resolved against a Base.
	Relative
	// File is an absolute path here: in the initramfs, or of a disk that is
	// mounted.
	File
	// Device is a file on a block device, or the whole device when Path is
	// empty.
	Device
	// OCI is an artifact in a registry, oci:// or oci+http://. Its URL is its
	// manifest's.
	OCI
)

// Location is a parsed reference. The zero one is none.
type Location struct {
	Kind Kind
	// Raw is the reference as written; it may hold credentials.
	Raw string
	// Tag is LABEL, UUID, PARTUUID, PARTLABEL or DEV, of a Device.
	Tag string
	// Value is the label, the UUID, or the device's path.
	Value string
	// Path is the absolute path on the device, or of a File.
	Path string

	url      *url.URL
	artifact *Artifact
}

// FileAt is the location of a file here, by its absolute path.
func FileAt(path string) Location { return Location{Kind: File, Raw: path, Path: path} }

// URL is a copy of the location's URL, nil where it has none.
func (l Location) URL() *url.URL {
	if l.url == nil {
		return nil
	}
	u := *l.url
	return &u
}

// Artifact is what is meant in the registry, by a location of the kind OCI.
func (l Location) Artifact() Artifact {
	if l.artifact == nil {
		return Artifact{}
	}
	return *l.artifact
}

// Scheme is http, https or tftp, empty where there is no URL.
func (l Location) Scheme() string {
	if l.url == nil {
		return ""
	}
	return l.url.Scheme
}

// Remote tells whether the network is needed to get there.
func (l Location) Remote() bool { return l.Kind == URL || l.Kind == Relative || l.Kind == OCI }

// Equal tells whether both were written alike.
func (l Location) Equal(o Location) bool {
	return l.Kind == o.Kind && l.Raw == o.Raw && l.Tag == o.Tag && l.Value == o.Value && l.Path == o.Path
}

// String is the location as an operator may see it: without credentials.
func (l Location) String() string {
	if l.Remote() {
		return Redacted(l.Raw)
	}
	return l.Raw
}

// WithSuffix appends suffix to the path, before the query of a URL. An
// artifact has none: what belongs to the image is in it.
func (l Location) WithSuffix(suffix string) Location {
	switch l.Kind {
	case URL:
		u := *l.url
		if u.Path == "" {
			u.Path = "/"
		}
		if u.Path += suffix; u.RawPath != "" {
			u.RawPath += suffix
		}
		l.url, l.Raw = &u, u.String()
	case Relative:
		raw, _, _ := strings.Cut(l.Raw, "#")
		name, query, ok := strings.Cut(raw, "?")
		if l.Raw = name + suffix; ok {
			l.Raw += "?" + query
		}
	case OCI:
	default:
		l.Raw += suffix
		l.Path += suffix
	}
	return l
}

// Beside is what l means where it stands in a file: in a manifest, for
// instance. A name is in the file's directory, whatever is absolute stays.
func (l Location) Beside(file Location) (Location, error) {
	switch {
	case l.Kind == Device:
		return Location{}, newError("%s: a file on a disk is named in %s, which may name URLs and paths alone", l, file)
	case l.Kind == Relative && file.Kind == File:
		return FileAt(path.Join(path.Dir(file.Path), l.Raw)), nil
	case l.Kind == Relative && file.Kind == URL:
		return l.in(file.url.ResolveReference(&url.URL{Path: "./"}))
	case l.Kind == Relative:
		return Location{}, newError("%s is relative to %s, which is no place", l, file)
	}
	return l, nil
}
