package qemutests

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"netstage/fetch/oci"
	"netstage/fetch/oci/peer"
)

// inRegistry is a network with Debian's docker-registry, which has the image:
// {artifact} is where, by tag, and {digest} what pins it.
func inRegistry(t *testing.T, login string, layers func(*played) []peer.Layer) *network {
	t.Helper()
	r := peer.Start(t, peer.Options{Login: login})
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &network{
		web: map[string]http.Handler{"registry": httputil.NewSingleHostReverseProxy(to)},
		before: func(p *played) {
			d := r.Push(p.t, "team/web", "stable", layers(p)...)
			p.others["artifact"], p.others["digest"] = p.others["registry"]+"/team/web:stable", d.Digest
		},
	}
}

// layers are those that netstage push makes of an image.
func (v vouched) layers() []peer.Layer {
	return []peer.Layer{
		{Type: oci.TypeSquashfs, Title: "image.squashfs", Content: v.content, Annotations: map[string]string{oci.RootHash: v.root}},
		{Type: oci.TypeTree, Title: "image.squashfs.verity", Content: v.tree},
		{Type: oci.TypeManifest, Title: "web.manifest", Content: v.body},
		{Type: oci.TypeSignature, Title: "web.manifest.minisig", Content: v.signature},
	}
}

func pushed(p *played) []peer.Layer { return p.image.layers() }

// Machines boot what a registry has, logged in, by a digest or a signature; and
// what is no such system is told by its class.
func TestRegistry(t *testing.T) {
	t.Parallel()
	const login = `{"auths": {"http://{registry}": {"username": "boot", "password": "geheim"}}}`
	trusted := map[string]string{"/etc/netstage/trusted.d/ops.pub": "{ops.pub}"}
	for name, s := range map[string]scenario{
		"a digest": {
			lan: inRegistry(t, "boot:geheim", pushed), files: map[string]string{"/etc/netstage/registry.json": login},
			cmdline: "init={init} rootfs=oci+http://{artifact}@{digest}",
			shown:   []string{"image: oci+http://{artifact}@{digest} is {digest}", "verified", "!geheim", "!nothing vouches"},
		},
		"a signature": {
			lan: inRegistry(t, "", pushed), copies: trusted,
			cmdline: "rootfs=oci+http://{artifact}", shown: []string{"signed by ops.pub", "!nothing vouches"},
		},
		"a tag alone": {
			lan: inRegistry(t, "", pushed), files: map[string]string{"/etc/netstage/policy.json": `{"version": 1, "verify": "required"}`},
			cmdline: "boot.fail_timeout=1 init={init} rootfs=oci+http://{artifact}", ends: refused("policy"), shown: []string{"a tag vouches for nothing"},
		},
		"a wrong login": {
			lan: inRegistry(t, "boot:other", pushed), files: map[string]string{"/etc/netstage/registry.json": login},
			cmdline: "boot.fail_timeout=1 init={init} rootfs=oci+http://{artifact}@{digest}", ends: refused("registry-auth"),
			shown: []string{"does not let the user boot read team/web", "!geheim"},
		},
		"no system": {
			lan: inRegistry(t, "", func(*played) []peer.Layer {
				return []peer.Layer{{Type: "application/x-other", Title: "x", Content: []byte("x")}}
			}),
			cmdline: "boot.fail_timeout=1 init={init} rootfs=oci+http://{artifact}", ends: refused("artifact"),
			shown: []string{"none of its layers is an image of a system: there is application/x-other"},
		},
	} {
		t.Run(name, s.run)
	}
}
