package vouch

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/fetch/oci"
	"netstage/fetch/oci/peer"
)

// odd is a registry that no registry is: what it has may be anything, and what
// it is asked stands in its log.
type odd struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte // by path
	log   []*http.Request
	// before sees requests first, and tells whether it has answered.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func (w *world) odd(t *testing.T) *odd {
	o := &odd{files: map[string][]byte{}}
	for _, content := range [][]byte{w.content, w.tree, w.body, w.signature} {
		o.files["/v2/web/blobs/"+peer.DigestOf(content)] = content
	}
	o.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.log = append(o.log, r)
		o.mu.Unlock()
		if o.before != nil && o.before(rw, r) {
			return
		}
		body, ok := o.files[r.URL.Path]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(body))
	}))
	t.Cleanup(o.Close)
	return o
}

// manifest has the registry have one with those layers, by the tag 1 and by its
// digest, which is returned.
func (o *odd) manifest(t *testing.T, layers ...map[string]any) (digest string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "layers": layers})
	if err != nil {
		t.Fatal(err)
	}
	digest = peer.DigestOf(body)
	o.files["/v2/web/manifests/1"], o.files["/v2/web/manifests/"+digest] = body, body
	return digest
}

func (o *odd) ref(reference string) string {
	return "oci+http://" + strings.TrimPrefix(o.URL, "http://") + "/web" + reference
}

// imageLayer is the image's, with its root hash, and something else changed.
func (w *world) imageLayer(more map[string]any) map[string]any {
	l := map[string]any{"mediaType": oci.TypeSquashfs, "digest": peer.DigestOf(w.content), "size": len(w.content),
		"annotations": map[string]string{"org.opencontainers.image.title": "image", oci.RootHash: hex.EncodeToString(w.root)}}
	for k, v := range more {
		l[k] = v
	}
	return l
}

func (w *world) treeLayer() map[string]any {
	return map[string]any{"mediaType": oci.TypeTree, "digest": peer.DigestOf(w.tree), "size": len(w.tree)}
}

// What registries, and what stands before them, do and need not: the image
// comes all the same, by a digest.
func TestOddRegistries(t *testing.T) {
	w := newWorld(t, "image")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the URL of a foreign layer is asked for %s", r.URL)
	}))
	t.Cleanup(elsewhere.Close)
	tokens := func(o *odd, answer string) {
		o.files["/token"] = []byte(answer)
		o.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v2/") || r.Header.Get("Authorization") == "Bearer right" {
				return false
			}
			rw.Header().Add("WWW-Authenticate", `Negotiate`)
			rw.Header().Add("WWW-Authenticate", `Basic realm="x", Bearer realm="`+o.URL+`/token?x=1",service="s"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
	}
	busy := func(o *odd, path string, before func(rw http.ResponseWriter, r *http.Request) bool) {
		var first time.Time
		o.before = func(rw http.ResponseWriter, r *http.Request) bool {
			switch {
			case !strings.HasPrefix(r.URL.Path, path):
				return before != nil && before(rw, r)
			case first.IsZero():
				first = time.Now()
				rw.Header().Set("Retry-After", "1")
				rw.WriteHeader(http.StatusTooManyRequests)
				return true
			case time.Since(first) < time.Second:
				t.Errorf("%s is asked for %v after a 429 that asked for 1 s", path, time.Since(first))
			}
			return false
		}
	}
	for name, change := range map[string]func(o *odd) (layer map[string]any){
		"a foreign layer": func(*odd) map[string]any {
			return w.imageLayer(map[string]any{"urls": []string{elsewhere.URL + "/image"}})
		},
		"Docker-Content-Digest lies": func(o *odd) map[string]any {
			o.before = func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				return false
			}
			return nil
		},
		"Content-Type lies": func(o *odd) map[string]any {
			o.before = func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.Header().Set("Content-Type", "text/html")
				return false
			}
			return nil
		},
		"nothing but GET": func(o *odd) map[string]any {
			o.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet {
					rw.WriteHeader(http.StatusMethodNotAllowed)
				}
				return r.Method != http.MethodGet
			}
			return nil
		},
		"a relative Location": func(o *odd) map[string]any {
			o.files["/store"] = w.content
			o.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v2/web/blobs/"+peer.DigestOf(w.content) {
					return false
				}
				rw.Header().Set("Location", "../../../store")
				rw.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
			return nil
		},
		"a manifest that is redirected": func(o *odd) map[string]any {
			o.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				o.files["/store"] = o.files[r.URL.Path]
				http.Redirect(rw, r, "/store", http.StatusFound)
				return true
			}
			return nil
		},
		"token, of several challenges": func(o *odd) map[string]any {
			tokens(o, `{"token": "right", "access_token": "wrong"}`)
			return nil
		},
		"access_token":  func(o *odd) map[string]any { tokens(o, `{"access_token": "right"}`); return nil },
		"429, manifest": func(o *odd) map[string]any { busy(o, "/v2/web/manifests/", nil); return nil },
		"429, blob":     func(o *odd) map[string]any { busy(o, "/v2/web/blobs/", nil); return nil },
		"429, token": func(o *odd) map[string]any {
			tokens(o, `{"token": "right"}`)
			busy(o, "/token", o.before)
			return nil
		},
		"octet-stream, as oras pushes it": func(*odd) map[string]any {
			return w.imageLayer(map[string]any{"mediaType": "application/octet-stream", "annotations": map[string]string{"org.opencontainers.image.title": "x.squashfs"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := w.odd(t)
			layer := change(r)
			if layer == nil {
				layer = w.imageLayer(nil)
			}
			digest := r.manifest(t, layer, w.treeLayer())
			o, _ := order(t)
			o.Images = artifacts(t, r.ref("@"+digest))
			w.mustGet(t, o)
			for _, q := range r.log {
				if q.Method != http.MethodGet {
					t.Errorf("%s %s", q.Method, q.URL)
				}
			}
		})
	}
}

// What is no manifest of a system is refused by a class and in words, and the
// registry beside it is asked.
func TestWrongArtifacts(t *testing.T) {
	w := newWorld(t, "image")
	good := w.odd(t)
	good.manifest(t, w.imageLayer(nil), w.treeLayer())
	zipped := func(text []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(text)
		z.Close()
		return b.Bytes()
	}
	for name, test := range map[string]struct {
		change      func(o *odd)
		class, says string
	}{
		"schema 1": {func(o *odd) {
			o.files["/v2/web/manifests/1"] = []byte(`{"schemaVersion": 1, "name": "web", "fsLayers": [{"blobSum": "sha256:x"}]}`)
		}, "artifact", "schemaVersion is 1"},
		"gzip": {func(o *odd) {
			o.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/manifests/") {
					rw.Header().Set("Content-Encoding", "gzip")
					rw.Write(zipped(o.files[r.URL.Path]))
				}
				return strings.Contains(r.URL.Path, "/manifests/")
			}
		}, "encoding", "Content-Encoding gzip"},
		"erofs+zstd": {func(o *odd) {
			o.manifest(t, w.imageLayer(map[string]any{"mediaType": "application/vnd.erofs+zstd"}))
		}, "artifact", "there is application/vnd.erofs+zstd"},
		"a tar": {func(o *odd) {
			o.manifest(t, w.imageLayer(map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}))
		}, "artifact", "there is application/vnd.oci.image.layer.v1.tar+gzip"},
		"two images": {func(o *odd) {
			o.manifest(t, w.imageLayer(nil), w.imageLayer(nil))
		}, "artifact", "more than one of its layers is an image"},
		"another size": {func(o *odd) {
			o.manifest(t, w.imageLayer(map[string]any{"size": len(w.content) + 1}), w.treeLayer())
		}, "policy", "an image of 1048577 bytes is named, and the verity tree is of 1048576"},
		"another size of what has no tree": {func(o *odd) {
			o.manifest(t, w.imageLayer(map[string]any{"size": 4096, "annotations": nil}))
		}, "mismatch", "expected 4096"},
		"sha512": {func(o *odd) {
			o.manifest(t, w.imageLayer(map[string]any{"digest": "sha512:" + strings.Repeat("0", 128)}))
		}, "artifact", "not sha256:"},
		"a realm that is no URL": {func(o *odd) {
			o.before = func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.Header().Set("WWW-Authenticate", `Bearer realm="/token",service="s"`)
				rw.WriteHeader(http.StatusUnauthorized)
				return true
			}
		}, "registry-auth", "its realm is no URL"},
		"a page": {func(o *odd) {
			o.before = func(rw http.ResponseWriter, _ *http.Request) bool {
				io.WriteString(rw, "<html>Log in to the network!</html>")
				return true
			}
		}, "artifact", "it is no manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := w.odd(t)
			r.manifest(t, w.imageLayer(nil), w.treeLayer())
			test.change(r)
			o, log := order(t)
			o.Images = artifacts(t, r.ref(":1"))
			if strings.HasPrefix(name, "another size") {
				o.SHA256 = w.digest // so that it is not the registry's word alone
			}
			if name == "another size" {
				o.SHA256, o.RootHash = nil, w.root
			}
			mustRefuse(t, o, test.class, test.says)
			o.Images = append(o.Images, artifacts(t, good.ref(":1"))...)
			w.mustGet(t, o)
			if strings.Contains(log.String(), "panic") {
				t.Errorf("%s", log)
			}
		})
	}
}

// A registry by the literal of an IPv6 address, and its login.
func TestRegistryByIPv6(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{Addr: "[::1]:0", Login: "boot:secret"})
	d := r.Push(t, "a/b-c/web", "1", w.layers()...)
	o, _ := order(t)
	o.Images = artifacts(t, fmt.Sprintf("oci+http://%s/a/b-c/web:1@%s", r.Host, d.Digest))
	mustRefuse(t, o, "registry-auth", "")
	o.Credentials = credentials(t, map[string]string{r.URL: "boot:secret"})
	w.mustGet(t, o)
}
