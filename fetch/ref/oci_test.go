package ref

import (
	"strings"
	"testing"

	"netstage/stage1/fault"
)

const digest = "8f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f00"

func TestArtifact(t *testing.T) {
	for _, c := range []struct {
		ref  string
		want Artifact
		url  string
	}{
		{"oci://r.example/web", Artifact{Host: "r.example", Name: "web", Tag: "latest"}, "https://r.example/v2/web/manifests/latest"},
		{"OCI://R.example:5000/a/b_c/d--e.f:V1.2-x", Artifact{Host: "r.example:5000", Name: "a/b_c/d--e.f", Tag: "V1.2-x"}, "https://r.example:5000/v2/a/b_c/d--e.f/manifests/V1.2-x"},
		{"oci+http://[::1]:5000/web:1", Artifact{Host: "[::1]:5000", Name: "web", Tag: "1", Plain: true}, "http://[::1]:5000/v2/web/manifests/1"},
		{"oci://r.example/web@sha256:" + digest, Artifact{Host: "r.example", Name: "web", Digest: digest}, "https://r.example/v2/web/manifests/sha256:" + digest},
		{"oci://r.example/web:1@sha256:" + digest, Artifact{Host: "r.example", Name: "web", Tag: "1", Digest: digest}, "https://r.example/v2/web/manifests/sha256:" + digest},
		{"oci://docker.io/me/web", Artifact{Host: "registry-1.docker.io", Name: "me/web", Tag: "latest"}, "https://registry-1.docker.io/v2/me/web/manifests/latest"},
	} {
		l, err := Parse(c.ref)
		if err != nil || l.Kind != OCI || l.Artifact() != c.want || l.URL().String() != c.url || !l.Remote() || l.String() != c.ref {
			t.Errorf("%s: %+v, %v", c.ref, l, err)
		}
	}
	for _, c := range []struct{ ref, says string }{
		{"oci://r.example", "names no repository"},
		{"oci://r.example/", "names no repository"},
		{"oci:///web", "names no host"},
		{"oci://r.example:/web", "names no host"},
		{"oci://r.example:x/web", "names no host"},
		{"oci://[fe80::1%25eth0]/web", "names no host"},
		{"oci://joe:geheim@r.example/web", "belong into /etc/netstage/registry.json"},
		{"oci://r.example/web?x=geheim", "a query"},
		{"oci://r.example/Web", "repository's name"},
		{"oci://r.example/a//b", "repository's name"},
		{"oci://r.example/a/../b", "repository's name"},
		{"oci://r.example/a..b", "repository's name"},
		{"oci://r.example/a___b", "repository's name"},
		{"oci://r.example/-a", "repository's name"},
		{"oci://r.example/" + strings.Repeat("a", 300), "repository's name"},
		{"oci://r.example/web:", "its tag"},
		{"oci://r.example/web:-1", "its tag"},
		{"oci://r.example/web:" + strings.Repeat("a", 129), "its tag"},
		{"oci://r.example/web@sha256:1234", "its digest"},
		{"oci://r.example/web@sha512:" + digest, "its digest"},
		{"oci://r.example/web@sha256:" + strings.ToUpper(digest), "its digest"},
	} {
		_, err := Parse(c.ref)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") || fault.ClassOf(err) != fault.BadURL {
			t.Errorf("%s: %v", c.ref, err)
		}
	}
}

// What belongs to an artifact is in it, and not beside it.
func TestArtifactHasNoSuffix(t *testing.T) {
	l, err := Parse("oci://r.example/web:1")
	if err != nil || !l.WithSuffix(".verity").Equal(l) {
		t.Errorf("%v, %v", l.WithSuffix(".verity"), err)
	}
	blob, err := l.Artifact().Blob(digest)
	if err != nil || blob.Kind != URL || blob.String() != "https://r.example/v2/web/blobs/sha256:"+digest {
		t.Errorf("%v, %v", blob, err)
	}
}

func FuzzArtifact(f *testing.F) {
	for _, s := range []string{"oci://h:5000/a/b:t@sha256:" + digest, "oci+http://[::1]/a__b", "oci://u:p@h/x", "oci://h/x?y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s)
		if err != nil || l.Kind != OCI {
			return
		}
		again, err := Parse(l.Artifact().String())
		if err != nil || again.Artifact() != l.Artifact() {
			t.Errorf("%q is %+v, and that is %+v, %v", s, l.Artifact(), again.Artifact(), err)
		}
		if u := l.URL(); u.Host != l.Artifact().Host || u.User != nil || u.RawQuery != "" || strings.Contains(u.Path, "..") {
			t.Errorf("%q leads to %s", s, u)
		}
	})
}
