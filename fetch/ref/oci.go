package ref

import (
	"net/url"
	"strings"
)

// Artifact names what is in a registry, by tag or by digest: an image with
// what belongs to it, or an index of such.
type Artifact struct {
	Host   string // of the registry, with a port where one is given
	Name   string // of the repository
	Tag    string // may be empty beside a Digest
	Digest string // of the manifest, 64 hex digits; empty: by tag alone
	Plain  bool   // by http
}

// dockerHub is the host that serves what is called docker.io.
const dockerHub = "registry-1.docker.io"

// mostName is the longest name of host and repository that registries take.
const mostName = 255

// isArtifact tells whether s is to be one.
func isArtifact(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "oci") || strings.EqualFold(scheme, "oci+http"))
}

// parseArtifact reads oci://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST].
func parseArtifact(s string) (Location, error) {
	bad := func(why string) (Location, error) {
		return Location{}, newError("image reference %q: %s", Redacted(s), why)
	}
	scheme, rest, _ := strings.Cut(s, "://")
	a := Artifact{Plain: strings.EqualFold(scheme, "oci+http")}
	host, name, ok := strings.Cut(rest, "/")
	switch {
	case strings.Contains(host, "@"):
		return bad("a user and password are not part of it: they belong into /etc/netstage/registry.json")
	case !ok || name == "":
		return bad("it names no repository: want oci://HOST/NAME:TAG")
	case strings.ContainsAny(name, "?#"):
		return bad("it has a query or a fragment, which a registry has no use for")
	}
	web := "https"
	if a.Plain {
		web = "http"
	}
	u, err := url.Parse(web + "://" + host)
	if err != nil || u.Hostname() == "" || u.Host != host || strings.HasSuffix(host, ":") || strings.Contains(host, "%") {
		return bad("it names no host")
	}
	if a.Host = strings.ToLower(host); a.Host == "docker.io" || a.Host == "index.docker.io" {
		a.Host = dockerHub
	}
	name, digest, pinned := strings.Cut(name, "@")
	if pinned {
		if a.Digest, ok = strings.CutPrefix(digest, "sha256:"); !ok || !IsDigest(a.Digest) {
			return bad("its digest is not sha256: and 64 hexadecimal digits")
		}
	}
	if a.Name, a.Tag, ok = strings.Cut(name, ":"); ok && !isTag(a.Tag) {
		return bad("its tag is none: letters, digits and ._- alone, at most 128")
	}
	if a.Tag == "" && !pinned {
		a.Tag = "latest"
	}
	if !isRepository(a.Name) || len(a.Host)+1+len(a.Name) > mostName {
		return bad("its repository's name is none: lower-case letters, digits and ._-/ alone, no two signs in a row")
	}
	l, err := a.Manifest()
	l.Kind, l.Raw, l.artifact = OCI, s, &a
	return l, err
}

// isRepository tells whether a repository can be called so
// (distribution-spec 1.1, "Pulling manifests"): parts between slashes, of lower
// case letters and digits, with a dot, one or two underscores or any hyphens
// between them.
func isRepository(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.Trim(part[:1]+part[len(part)-1:], lower) != "" {
			return false
		}
		signs := strings.FieldsFunc(part, func(r rune) bool { return strings.ContainsRune(lower, r) })
		for _, sign := range signs {
			if sign != "." && sign != "_" && sign != "__" && strings.Trim(sign, "-") != "" {
				return false
			}
		}
	}
	return true
}

const lower = "abcdefghijklmnopqrstuvwxyz0123456789"

// isTag tells whether a tag can be called so.
func isTag(tag string) bool {
	const word = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	return tag != "" && len(tag) <= 128 && strings.Contains(word, tag[:1]) && strings.Trim(tag, word+".-") == ""
}

// IsDigest tells whether s is a SHA-256 in hex, as registries write it.
func IsDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// Manifest is where the registry has the manifest that is meant.
func (a Artifact) Manifest() (Location, error) {
	reference := a.Tag
	if a.Digest != "" {
		reference = "sha256:" + a.Digest
	}
	return ParseURL(a.base() + "manifests/" + reference)
}

// Blob is where the registry has the blob with that SHA-256.
func (a Artifact) Blob(digest string) (Location, error) {
	return ParseURL(a.base() + "blobs/sha256:" + digest)
}

// base is the URL that the repository's manifests and blobs are below.
func (a Artifact) base() string {
	if a.Plain {
		return "http://" + a.Host + "/v2/" + a.Name + "/"
	}
	return "https://" + a.Host + "/v2/" + a.Name + "/"
}

// At is the artifact with that digest in the same repository.
func (a Artifact) At(digest string) Artifact {
	a.Digest = digest
	return a
}

// String is the artifact as a reference.
func (a Artifact) String() string {
	s := "oci://"
	if a.Plain {
		s = "oci+http://"
	}
	s += a.Host + "/" + a.Name
	if a.Tag != "" {
		s += ":" + a.Tag
	}
	if a.Digest != "" {
		s += "@sha256:" + a.Digest
	}
	return s
}
