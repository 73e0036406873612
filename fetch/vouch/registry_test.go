package vouch

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
	"netstage/fetch/oci/peer"
	"netstage/fetch/ref"
	"netstage/fetch/store"
)

// layers are the artifact of a world.
func (w *world) layers() []peer.Layer {
	return []peer.Layer{
		{Type: oci.TypeKernel, Title: "bzImage", Content: []byte("kernel")},
		{Type: oci.TypeSquashfs, Title: "image", Content: w.content, Annotations: map[string]string{oci.RootHash: hex.EncodeToString(w.root)}},
		{Type: oci.TypeTree, Title: "image.verity", Content: w.tree},
		{Type: oci.TypeManifest, Title: "web.manifest", Content: w.body},
		{Type: oci.TypeSignature, Title: "web.manifest.minisig", Content: w.signature},
	}
}

func artifacts(t *testing.T, refs ...string) (all []ref.Location) {
	t.Helper()
	for _, text := range refs {
		l, err := ref.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// front stands before a registry and sees to the requests that it likes to.
func front(t *testing.T, r *peer.Registry, sees func(w http.ResponseWriter, q *http.Request) bool) (host string) {
	t.Helper()
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !sees(w, q) {
			proxy.ServeHTTP(w, q)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// instead answers one path with a body.
func instead(path string, body []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, path) {
			return false
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(body))
		return true
	}
}

// What vouches for an image in a registry is the same as elsewhere, and the
// digest in the reference.
func TestRegistry(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{})
	d := r.Push(t, "team/web", "1", w.layers()...)
	plain := r.Push(t, "team/web", "plain", w.layers()[1])
	base := "oci+http://" + r.Host + "/team/web"

	t.Run("a digest, by the tree that it names", func(t *testing.T) {
		o, _ := order(t)
		o.Images = artifacts(t, base+"@"+d.Digest)
		if i := w.mustGet(t, o); !bytes.Equal(i.RootHash, w.root) || i.SHA256 != nil || !strings.Contains(i.Source, "/v2/team/web/blobs/sha256:") {
			t.Errorf("%+v", i)
		}
		o.KeepTree = true
		o.Images = artifacts(t, base+":1@"+d.Digest)
		i, err := Get(soon(t), o)
		if err != nil || i.Tree == nil {
			t.Fatal(i, err)
		}
		i.Close()
	})
	t.Run("a digest, of an image without a tree", func(t *testing.T) {
		o, log := order(t)
		o.Images = artifacts(t, base+"@"+plain.Digest)
		if i := w.mustGet(t, o); !bytes.Equal(i.SHA256, w.digest) || i.RootHash != nil || strings.Contains(log.String(), "not verified") {
			t.Errorf("%+v\n%s", i, log)
		}
		o.RootHash = w.root
		mustRefuse(t, o, "artifact", "has no verity tree")
	})
	t.Run("a tag, which vouches for nothing", func(t *testing.T) {
		o, log := order(t)
		o.Images = artifacts(t, base+":1")
		w.mustGet(t, o)
		if !strings.Contains(log.String(), "WARN image: 1 MiB from "+r.Host) || !strings.Contains(log.String(), "not verified: nothing vouches for sha256") {
			t.Errorf("%s", log)
		}
		o.KeepTree = true
		mustRefuse(t, o, "policy", "no root hash is known")
	})
	t.Run("a tag, and a digest of the image", func(t *testing.T) {
		o, log := order(t)
		o.Images, o.SHA256 = artifacts(t, base+":1"), w.digest
		w.mustGet(t, o)
		if strings.Contains(log.String(), "not verified: ") {
			t.Errorf("%s", log)
		}
		o.SHA256 = make([]byte, 32)
		mustRefuse(t, o, "mismatch", "expected 0000")
	})
	t.Run("a tag, and a root hash", func(t *testing.T) {
		o, _ := order(t)
		o.Images, o.RootHash = artifacts(t, base+":1"), w.root
		w.mustGet(t, o)
		o.RootHash = make([]byte, 32)
		mustRefuse(t, o, "mismatch", "")
		o.Images = artifacts(t, base+"@"+d.Digest)
		mustRefuse(t, o, "policy", "root hash")
	})
	t.Run("a tag, and a signature", func(t *testing.T) {
		o, _ := order(t)
		o.Images, o.Keys = artifacts(t, base+":1"), manifest.Keys{w.key}
		if i := w.mustGet(t, o); i.Init != initPath || i.Signed == nil || !bytes.Equal(i.RootHash, w.root) {
			t.Errorf("%+v", i)
		}
		o.Init = "/bin/sh"
		mustRefuse(t, o, "policy", "init=/bin/sh")
		o.Init, o.Keys = "", manifest.Keys{w.other}
		mustRefuse(t, o, "signature", "unknown key")
		o.Images = artifacts(t, base+"@"+plain.Digest)
		mustRefuse(t, o, "signature", "holds no signed manifest")
	})
	t.Run("what is not there, or is not one thing", func(t *testing.T) {
		o, _ := order(t)
		o.Images = artifacts(t, base+":2")
		mustRefuse(t, o, "http-404", "/v2/team/web/manifests/2")
		o.Images = artifacts(t, base+"@sha256:"+strings.Repeat("0", 64))
		mustRefuse(t, o, "http-404", "404")
		o.Images = artifacts(t, base+"@"+d.Digest, base+"@"+plain.Digest)
		mustRefuse(t, o, "policy", "two artifacts")
		o.Images, o.Trees = artifacts(t, base+":1"), artifacts(t, base+":1")
		mustRefuse(t, o, "bad-url", "is in its artifact")
	})
	t.Run("a server beside the registry", func(t *testing.T) {
		s := w.serve(t)
		o, _ := order(t)
		o.Images = slices.Concat(artifacts(t, "oci+http://"+r.Host+"/team/web@"+d.Digest), places(s.URL("dir/image")))
		w.mustGet(t, o)
		slices.Reverse(o.Images)
		if i := w.mustGet(t, o); i.Source != s.URL("dir/image") {
			t.Errorf("from %s", i.Source)
		}
	})
	t.Run("a signed manifest that names it", func(t *testing.T) {
		named := newWorld(t, base+":1")
		s := named.serve(t)
		o, _ := order(t)
		o.Manifests, o.Keys = places(s.URL("dir/web.manifest")), manifest.Keys{named.key}
		named.mustGet(t, o)
	})
}

// A tag that moves is another image from then on; a digest stays what it is.
func TestMovedTag(t *testing.T) {
	before, after := newWorld(t, "image"), newWorld(t, "image")
	after.content = append(bytes.Clone(after.content), 'x')
	r := peer.Start(t, peer.Options{})
	d := r.Push(t, "web", "stable", before.layers()...)
	r.Push(t, "web", "stable", peer.Layer{Type: oci.TypeSquashfs, Title: "image", Content: after.content})
	o, _ := order(t)
	o.Images = artifacts(t, "oci+http://"+r.Host+"/web:stable")
	after.mustGet(t, o)
	o.Images = artifacts(t, "oci+http://"+r.Host+"/web:stable@"+d.Digest)
	before.mustGet(t, o)
}

// Whatever level a registry lies at, nothing of it is taken: by a digest, and
// by a signature.
func TestLyingRegistry(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{})
	m := r.Push(t, "web", "one", w.layers()...)
	index := r.PushIndex(t, "web", "many", map[string]peer.Descriptor{"linux/" + runtime.GOARCH: m, "linux/riscv64": m})
	blob := func(content []byte) string {
		return fmt.Sprintf("/blobs/%s", peer.DigestOf(content))
	}
	flipped := func(content []byte) []byte {
		b := bytes.Clone(content)
		b[len(b)/2] ^= 1
		return b
	}
	other := newWorld(t, "image")
	o, _ := order(t)
	o.Images = artifacts(t, "oci+http://"+r.Host+"/web:many@"+index.Digest)
	w.mustGet(t, o)
	for name, test := range map[string]struct {
		path  string
		body  []byte
		keys  manifest.Keys
		class string
	}{
		"index":         {"/manifests/" + index.Digest, []byte(`{"schemaVersion": 2, "manifests": []}`), nil, "mismatch"},
		"manifest":      {"/manifests/" + m.Digest, []byte(`{"schemaVersion": 2, "layers": []}`), nil, "mismatch"},
		"tree":          {blob(w.tree), flipped(w.tree), nil, "mismatch"},
		"image":         {blob(w.content), flipped(w.content), nil, "mismatch"},
		"cut image":     {blob(w.content), w.content[:1<<19], nil, "mismatch"},
		"huge manifest": {"/manifests/" + index.Digest, make([]byte, store.Step+1), nil, "too-large"},
		"signed":        {blob(w.body), append(bytes.Clone(w.body), ' '), manifest.Keys{w.key}, "signature"},
		"signature":     {blob(w.signature), other.signature, manifest.Keys{w.key}, "signature"},
		"signed image":  {blob(w.content), flipped(w.content), manifest.Keys{w.key}, "mismatch"},
		"signed tree":   {blob(w.tree), flipped(w.tree), manifest.Keys{w.key}, "mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			host := front(t, r, instead(test.path, test.body))
			o, log := order(t)
			o.Images, o.Keys = artifacts(t, "oci+http://"+host+"/web:many"), test.keys
			if test.keys == nil {
				o.Images = artifacts(t, "oci+http://"+host+"/web:many@"+index.Digest)
			}
			mustRefuse(t, o, test.class, "")
			// An honest one beside it is asked instead.
			o.Images = append(o.Images, artifacts(t, "oci+http://"+r.Host+"/web:many")...)
			if i := w.mustGet(t, o); strings.Contains(i.Source, host) && strings.Contains(test.path, "blobs") && test.keys == nil && name != "tree" {
				t.Errorf("from %s\n%s", i.Source, log)
			}
		})
	}
}

// What a tag means to one registry is of no use, and to another one it is.
func TestNextRegistry(t *testing.T) {
	w, other := newWorld(t, "image"), newWorld(t, "image")
	good, bad := peer.Start(t, peer.Options{}), peer.Start(t, peer.Options{})
	good.Push(t, "web", "1", w.layers()...)
	bad.Push(t, "web", "foreign", other.layers()...)
	bad.Push(t, "web", "other", peer.Layer{Type: "application/x-other", Title: "x", Content: []byte("x")})
	bad.PushIndex(t, "web", "riscv", map[string]peer.Descriptor{"linux/riscv64": bad.Push(t, "web", "riscv64", w.layers()...)})
	for tag, test := range map[string]struct{ class, says string }{
		"foreign": {"signature", "unknown key"},
		"other":   {"artifact", "none of its layers is an image of a system: there is application/x-other"},
		"riscv":   {"artifact", "nothing for linux/" + runtime.GOARCH + ": there is linux/riscv64"},
	} {
		t.Run(tag, func(t *testing.T) {
			o, log := order(t)
			o.Keys = manifest.Keys{w.key}
			o.Images = artifacts(t, "oci+http://"+bad.Host+"/web:"+tag)
			mustRefuse(t, o, test.class, test.says)
			o.Images = append(o.Images, artifacts(t, "oci+http://"+good.Host+"/web:1")...)
			if w.mustGet(t, o); !strings.Contains(log.String(), "now the next registry") {
				t.Errorf("%s", log)
			}
		})
	}
}

// credentials are docker's, for some origins.
func credentials(t *testing.T, logins map[string]string) oci.Credentials {
	t.Helper()
	var all []string
	for origin, login := range logins {
		user, password, _ := strings.Cut(login, ":")
		all = append(all, fmt.Sprintf(`%q: {"username": %q, "password": %q}`, origin, user, password))
	}
	c, err := oci.ParseCredentials([]byte(`{"auths": {` + strings.Join(all, ", ") + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogins(t *testing.T) {
	w := newWorld(t, "image")
	tokens := peer.ServeTokens(t, "boot:secret")
	for name, options := range map[string]peer.Options{
		"https and basic":    {TLS: true, Login: "boot:secret"},
		"https, for anybody": {TLS: true},
		"http and tokens":    {Tokens: tokens},
	} {
		t.Run(name, func(t *testing.T) {
			r := peer.Start(t, options)
			d := r.Push(t, "web", "1", w.layers()...)
			o, _ := order(t)
			scheme, key := "oci+http://", r.URL
			if options.TLS {
				o.Fetch.Roots, scheme, key = r.Roots(t), "oci://", r.Host
			}
			o.Images = artifacts(t, scheme+r.Host+"/web@"+d.Digest)
			o.Credentials = credentials(t, map[string]string{key: "boot:secret", strings.TrimSuffix(tokens.URL(), "/token"): "boot:secret"})
			w.mustGet(t, o)
			if options.Login == "" && options.Tokens == nil {
				return
			}
			o.Credentials = credentials(t, map[string]string{key: "boot:geheim", strings.TrimSuffix(tokens.URL(), "/token"): "boot:geheim"})
			mustRefuse(t, o, "registry-auth", "boot")
			o.Credentials = oci.Credentials{}
			mustRefuse(t, o, "registry-auth", "")
		})
	}
	for _, asked := range tokens.Asked() {
		if !slices.Equal(asked.Scopes, []string{"repository:web:pull"}) {
			t.Errorf("a token for %q", asked.Scopes)
		}
	}
}

// The faults of the engine's own tests, in a registry: a blob is a file like
// any other.
func TestFaultyRegistry(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{})
	d := r.Push(t, "web", "1", w.layers()...)
	body := read(t, r.URL+"/v2/web/manifests/1")
	cut := int64(len(w.content) / 2)
	for name, script := range map[string][]faulty.Behaviour{
		"503":           {{Status: 503}, {Status: 429, RetryAfter: "0"}},
		"drop":          {{End: faulty.EndClose, Cut: cut}},
		"reset":         {{End: faulty.EndReset, Cut: cut}},
		"stall":         {{End: faulty.EndStall, Cut: cut}},
		"chunked":       {{Chunked: true, End: faulty.EndClose, Cut: cut}},
		"wrong range":   {{End: faulty.EndClose, Cut: cut}, {ContentRange: "bytes 0-1/2"}},
		"no ranges":     {{End: faulty.EndClose, Cut: cut}, {NoRanges: true, Times: -1}},
		"no validators": {{NoValidators: true, End: faulty.EndClose, Cut: cut}, {NoValidators: true, Times: -1}},
		"other ETag":    {{ETag: `"a"`, End: faulty.EndClose, Cut: cut}, {ETag: `"b"`, Times: -1}},
		"never answers": {{Hang: true}},
		"part as 200":   {{End: faulty.EndClose, Cut: cut}, {PartAs200: true, Times: -1}},
		"at once":       {{End: faulty.EndReset}},
		"last byte":     {{End: faulty.EndClose, Cut: int64(len(w.content)) - 1}},
		"no length":     {{NoLength: true, End: faulty.EndClose, Cut: cut}},
		"no byte":       {{NoLength: true, End: faulty.EndClose, Times: 3}},
		"late":          {{DelayMS: 3000}},
		"500, 502, 408": {{Status: 500}, {Status: 502, Times: 2}, {Status: 408}},
		"a short range": {{End: faulty.EndClose, Cut: cut}, {ContentRange: fmt.Sprintf("bytes %d-%d/%d", cut, cut+10, len(w.content))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := faulty.Listen("127.0.0.1:0", w.content, script...)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Add("v2/web/manifests/"+d.Digest, body)
			s.Add("v2/web/blobs/"+peer.DigestOf(w.tree), w.tree)
			o, log := order(t)
			o.Fetch.LowSpeed.Bytes, o.Fetch.LowSpeed.Window, o.Fetch.Timeouts.Header = 1, time.Second, 2*time.Second
			o.Images = artifacts(t, "oci+http://"+s.Addr()+"/web@"+d.Digest)
			if i := w.mustGet(t, o); i.Stats.Retries < 1 {
				t.Errorf("no fault was met\n%s", log)
			}
		})
	}
	// What asking again can't mend; another registry can.
	for name, test := range map[string]struct {
		faulty.Behaviour
		class string
	}{
		"a wrong byte":     {faulty.Behaviour{Flip: []int64{cut}}, "mismatch"},
		"Content-Encoding": {faulty.Behaviour{Encoding: "gzip"}, "encoding"},
		"redirect loop":    {faulty.Behaviour{Location: "loop"}, "redirect"},
		"400":              {faulty.Behaviour{Status: 400}, "http-400"},
		"403":              {faulty.Behaviour{Status: 403}, "http-403"},
		"404":              {faulty.Behaviour{Status: 404}, "http-404"},
		"410":              {faulty.Behaviour{Status: 410}, "http-410"},
		"another length":   {faulty.Behaviour{Length: int64(len(w.content)) + 4096}, "mismatch"},
	} {
		t.Run(name+", and another registry", func(t *testing.T) {
			t.Parallel()
			test.Times = -1
			s, err := faulty.Listen("127.0.0.1:0", w.content, test.Behaviour)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Add("v2/web/manifests/"+d.Digest, body)
			s.Add("v2/web/blobs/"+peer.DigestOf(w.tree), w.tree)
			o, _ := order(t)
			o.Images = artifacts(t, "oci+http://"+s.Addr()+"/web@"+d.Digest)
			mustRefuse(t, o, test.class, s.Addr())
			o.Images = append(o.Images, artifacts(t, "oci+http://"+r.Host+"/web@"+d.Digest)...)
			if i := w.mustGet(t, o); !strings.Contains(i.Source, r.Host) {
				t.Errorf("from %s", i.Source)
			}
		})
	}
	t.Run("nobody listens, then somebody", func(t *testing.T) {
		t.Parallel()
		s, err := faulty.Listen("127.0.0.1:0", w.content)
		if err != nil {
			t.Fatal(err)
		}
		away := s.Addr()
		s.Close()
		o, _ := order(t)
		refused := 0
		o.Fetch.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				if refused++; refused == 3 {
					late, err := faulty.Listen(away, w.content)
					if err != nil {
						return nil, err
					}
					t.Cleanup(func() { late.Close() })
					late.Add("v2/web/manifests/"+d.Digest, body)
					late.Add("v2/web/blobs/"+peer.DigestOf(w.tree), w.tree)
				}
			}
			return c, err
		}
		o.Images = artifacts(t, "oci+http://"+away+"/web@"+d.Digest)
		w.mustGet(t, o)
	})
}

func read(t *testing.T, url string) []byte {
	t.Helper()
	q, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", oci.Accept)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return body
}

// A machine without a clock: dates of a registry's certificate are passed over
// where a digest vouches, and then it hears nothing of the login.
func TestRegistryOutOfDate(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{TLS: true})
	d := r.Push(t, "web", "1", w.layers()...)
	o, log := order(t)
	o.Fetch.Roots, o.Fetch.Now = r.Roots(t), func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	o.Images = artifacts(t, "oci://"+r.Host+"/web@"+d.Digest)
	w.mustGet(t, o)
	if !strings.Contains(log.String(), "its dates are passed over") {
		t.Errorf("%s", log)
	}
	o.Images = artifacts(t, "oci://"+r.Host+"/web:1")
	mustRefuse(t, o, "tls-date", "")
}
