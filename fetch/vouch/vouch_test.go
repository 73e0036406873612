package vouch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"netstage/debug/sentence"
	"netstage/fetch"
	"netstage/fetch/faulty"
	"netstage/fetch/manifest"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/verity"
	"netstage/stage1/fault"
)

const initPath = "/nix/store/x/init"

// world is an image with all that vouches for it.
type world struct {
	content, tree, body, signature []byte
	digest, root                   []byte
	key                            manifest.Key
	other                          manifest.Key // signed nothing
}

func newKey(t *testing.T, name string) (manifest.Key, minisign.PrivateKey) {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	key, err := manifest.ParseKey(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return key, private
}

func newWorld(t *testing.T, path string) *world {
	t.Helper()
	w := &world{content: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(w.content), int64(len(w.content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(w.content)
	w.tree, w.root, w.digest = tree.Bytes(), root, sum[:]
	var private minisign.PrivateKey
	w.key, private = newKey(t, "ops.pub")
	w.other, _ = newKey(t, "other.pub")
	m := manifest.Manifest{Name: "web", Created: time.Unix(1e9, 0), Init: initPath,
		Images: []manifest.Image{{Path: path, Size: int64(len(w.content)), SHA256: w.digest, RootHash: w.root}}}
	if w.body, err = m.Marshal(); err != nil {
		t.Fatal(err)
	}
	if w.signature, err = manifest.Sign(private, w.body, "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve serves a world as a server of boots would.
func (w *world) serve(t *testing.T, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.Listen("127.0.0.1:0", w.content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Add("dir/image.verity", w.tree)
	s.Add("dir/web.manifest", w.body)
	s.Add("dir/web.manifest.minisig", w.signature)
	return s
}

func order(t *testing.T) (Order, *bytes.Buffer) {
	var log bytes.Buffer
	return Order{Fetch: fetch.Request{
		Store: store.File(filepath.Join(t.TempDir(), "out")), Log: logTo(&log),
		Backoff: pace.Backoff{Base: 5 * time.Millisecond, Cap: 50 * time.Millisecond},
	}}, &log
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (w *world) mustGet(t *testing.T, o Order) *Image {
	t.Helper()
	i, err := Get(soon(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	got, err := io.ReadAll(i.File)
	if err != nil || !bytes.Equal(got, w.content) || i.Size != int64(len(w.content)) {
		t.Errorf("%d bytes, size %d, %v", len(got), i.Size, err)
	}
	return i
}

func mustRefuse(t *testing.T, o Order, class, says string) {
	t.Helper()
	i, err := Get(soon(t), o)
	if i != nil || fault.ClassOf(err) != fault.Class(class) || !strings.Contains(err.Error(), says) {
		t.Errorf("%+v, %v; want class %s and %q", i, err, class, says)
	}
}

func TestTree(t *testing.T) {
	w := newWorld(t, "image")
	t.Run("beside the image", func(t *testing.T) {
		s := w.serve(t)
		o, _ := order(t)
		o.Images, o.RootHash = places(s.URL("dir/image")), w.root
		if i := w.mustGet(t, o); !bytes.Equal(i.RootHash, w.root) || i.SHA256 != nil {
			t.Errorf("%x %x", i.RootHash, i.SHA256)
		}
		if first := s.Log()[0].Path; first != "/dir/image.verity" {
			t.Errorf("%s was asked for first", first)
		}
		o, _ = order(t)
		o.Images, o.RootHash, o.SHA256 = places(s.URL("dir/image")), w.root, w.root
		mustRefuse(t, o, "mismatch", "sha256 is")
	})
	t.Run("a wrong tree is left for another mirror's", func(t *testing.T) {
		bad, good := w.serve(t), w.serve(t)
		wrong := bytes.Clone(w.tree)
		wrong[5000] ^= 1
		bad.Add("dir/image.verity", wrong)
		o, log := order(t)
		o.Images, o.RootHash = places(bad.URL("dir/image"), good.URL("dir/image")), w.root
		w.mustGet(t, o)
		if want := bad.Addr() + " serves a wrong verity tree: hash block"; !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
		o.Images = o.Images[:1]
		mustRefuse(t, o, "mismatch", "wrong verity tree")
	})
	t.Run("the image's bytes are another's", func(t *testing.T) {
		s := w.serve(t)
		other := bytes.Clone(w.content)
		other[700_000] ^= 1
		s.SetContent(other)
		o, _ := order(t)
		o.Images, o.RootHash = places(s.URL("dir/image")), w.root
		mustRefuse(t, o, "mismatch", "block 170")
	})
	t.Run("no tree", func(t *testing.T) {
		s, err := faulty.Listen("127.0.0.1:0", nil, faulty.Behaviour{Status: 404, Times: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o, _ := order(t)
		o.Images, o.RootHash = places(s.URL("image")), w.root
		mustRefuse(t, o, "http-404", "/image.verity")
	})
}

func TestLocal(t *testing.T) {
	w := newWorld(t, "image")
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	image := file("image", w.content)
	tree := file("image.verity", w.tree)
	m := file("web.manifest", w.body)
	sig := file("web.manifest.minisig", w.signature)
	o, _ := order(t)
	o.Images = places(image)
	w.mustGet(t, o)
	o.SHA256, o.RootHash = w.digest, w.root
	w.mustGet(t, o)
	signed := Order{Manifests: places(m), Keys: manifest.Keys{w.other, w.key}, Fetch: o.Fetch}
	if i := w.mustGet(t, signed); i.Source != image || i.Init != initPath || i.Signed.Keys[0].Name != "ops.pub" {
		t.Errorf("%+v", i)
	}

	wrong := bytes.Clone(w.content)
	wrong[123_456] ^= 1
	file("image", wrong)
	mustRefuse(t, o, "mismatch", "block 30")
	mustRefuse(t, signed, "mismatch", "block 30")
	o.RootHash = nil
	mustRefuse(t, o, "mismatch", "sha256 is")
	file("image", w.content[:5000])
	mustRefuse(t, signed, "mismatch", "5000 bytes")
	file("image", w.content)
	file("image.verity", w.tree[:5000])
	mustRefuse(t, signed, "mismatch", "cut off")
	os.Remove(tree)
	mustRefuse(t, signed, "no-image", "verity tree")
	os.Remove(sig)
	mustRefuse(t, signed, "signature", "minisig")
	zero := ref.FileAt("/dev/zero")
	o.Trees, o.RootHash = []ref.Location{zero}, w.root
	mustRefuse(t, o, "mismatch", "no signature")
	endless := signed
	endless.Manifests = []ref.Location{zero}
	mustRefuse(t, endless, "signature", "more than the 1048576 bytes")
	mustRefuse(t, Order{Images: places("/nowhere"), Fetch: o.Fetch}, "no-image", "/nowhere")
	mustRefuse(t, Order{Fetch: o.Fetch}, "no-image", "")
}

// What is on a disk that may change is copied, and the copy is what is verified
// and used.
func TestLocalCopy(t *testing.T) {
	w := newWorld(t, "image")
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, append(bytes.Clone(w.content), "more of the disk"...), 0o600); err != nil {
		t.Fatal(err)
	}
	o, _ := order(t)
	o.Images, o.SHA256 = places(image), w.digest
	o.Load = func(f *os.File) (int64, error) { return int64(len(w.content)), nil }
	i, err := Get(soon(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := os.WriteFile(image, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(i.File); err != nil || !bytes.Equal(got, w.content) || i.Size != int64(len(got)) || i.Source != image {
		t.Errorf("%d bytes, %v, %+v", len(got), err, i)
	}
	mustRefuse(t, o, "short", "the image ends at byte 7 of")
	wrong := bytes.Clone(w.content)
	wrong[1] ^= 1
	if err := os.WriteFile(image, wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	store := &countingStore{Store: o.Fetch.Store}
	o.Fetch.Store = store
	mustRefuse(t, o, "mismatch", "sha256 is")
	if store.closed != 1 {
		t.Errorf("what was wrong stays: the store was closed %d times", store.closed)
	}
	none := errors.New("no file system")
	o.Load = func(*os.File) (int64, error) { return 0, none }
	if _, err := Get(soon(t), o); !errors.Is(err, none) {
		t.Error(err)
	}
}

type countingStore struct {
	store.Store
	closed int
}

func (s *countingStore) Close() error {
	s.closed++
	return s.Store.Close()
}

func TestSigned(t *testing.T) {
	w := newWorld(t, "image")
	good := func(t *testing.T, servers ...*faulty.Server) (Order, *bytes.Buffer) {
		o, log := order(t)
		o.Keys = manifest.Keys{w.other, w.key}
		for _, s := range servers {
			o.Manifests = append(o.Manifests, places(s.URL("dir/web.manifest"))...)
		}
		return o, log
	}
	t.Run("names all", func(t *testing.T) {
		s := w.serve(t)
		o, log := good(t, s)
		i := w.mustGet(t, o)
		if i.Init != initPath || i.Signed.Name != "web" || !bytes.Equal(i.RootHash, w.root) || i.Source != s.URL("dir/image") {
			t.Errorf("%+v", i)
		}
		if want := "signed by ops.pub (" + w.key.ID() + ")"; !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	})
	t.Run("an image from elsewhere", func(t *testing.T) {
		s, mirror := w.serve(t), w.serve(t)
		o, _ := good(t, s)
		o.Images = places(mirror.URL("copy"))
		o.Trees = places(mirror.URL("dir/image.verity"))
		o.Init = initPath
		w.mustGet(t, o)
	})
	t.Run("a mirror with a wrong pair is left for another", func(t *testing.T) {
		bad, ok := w.serve(t), w.serve(t)
		other := newWorld(t, "image")
		bad.Add("dir/web.manifest.minisig", other.signature)
		o, _ := good(t, bad, ok)
		w.mustGet(t, o)
		bad.Add("dir/web.manifest", other.body)
		o, _ = good(t, bad, ok)
		w.mustGet(t, o)
		o, _ = good(t, bad)
		mustRefuse(t, o, "signature", "unknown key "+other.key.ID())
	})
	t.Run("refusals", func(t *testing.T) {
		s := w.serve(t)
		o, _ := good(t, s)
		o.Keys = nil
		mustRefuse(t, o, "signature", "no trusted key")
		o, _ = good(t)
		o.Images = places(s.URL("dir/image"))
		o.SHA256 = w.digest // a digest on the command line replaces no signature
		mustRefuse(t, o, "signature", "must be signed by other.pub or ops.pub")
		o, _ = good(t, s)
		o.Keys = manifest.Keys{w.other}
		mustRefuse(t, o, "signature", "unknown key "+w.key.ID())
		o, _ = good(t, s)
		o.Init = "/bin/sh"
		mustRefuse(t, o, "policy", "init=/bin/sh is not the one it names, "+initPath)
		o, _ = good(t, s)
		o.SHA256 = w.root
		mustRefuse(t, o, "policy", "the SHA-256 asked for is")
		o, _ = good(t, s)
		o.RootHash = w.digest
		mustRefuse(t, o, "policy", "the root hash asked for is")
		for _, e := range s.Log() {
			if e.Path == "/dir/image" {
				t.Error("an image that was refused was asked for")
			}
		}
		s.Add("dir/web.manifest", bytes.Replace(w.body, []byte(initPath), []byte("/nix/store/y/init"), 1))
		o, _ = good(t, s)
		mustRefuse(t, o, "signature", "changed after signing")
	})
	t.Run("replaced while it is asked for", func(t *testing.T) {
		s := w.serve(t)
		s.Add("dir/web.manifest", newWorld(t, "image").body)
		o, _ := good(t, s)
		o.Fetch.Log = slog.New(sentence.NewHandler(slog.LevelInfo, func(l sentence.Line) error {
			if strings.Contains(l.Text, "once more in") {
				s.Add("dir/web.manifest", w.body)
			}
			return nil
		}))
		w.mustGet(t, o)
	})
	t.Run("another image than the one signed", func(t *testing.T) {
		s := w.serve(t)
		s.SetContent(append(bytes.Clone(w.content[4096:]), w.content[:4096]...)[:len(w.content)-4096])
		o, _ := good(t, s)
		mustRefuse(t, o, "mismatch", "")
	})
}

// logTo is a log of lines as an operator sees them.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(w)))
}

// A manifest that was signed and is older than the floor is refused; its own
// second is not.
func TestReplayedManifest(t *testing.T) {
	w := newWorld(t, "image")
	s := w.serve(t)
	o, _ := order(t)
	o.Manifests, o.Keys = places(s.URL("dir/web.manifest")), manifest.Keys{w.key}
	o.NotBefore = time.Unix(1e9, 0)
	w.mustGet(t, o)
	o, _ = order(t)
	o.Manifests, o.Keys = places(s.URL("dir/web.manifest")), manifest.Keys{w.key}
	o.NotBefore = time.Unix(1e9+1, 0)
	mustRefuse(t, o, "policy", `the manifest "web" is of 2001-09-09T01:46:40Z, older than the 2001-09-09T01:46:41Z that is asked for`)
}

// With a manifest that names both digests the image is hashed once, unless the
// SHA-256 is pinned besides.
func TestHashedOnce(t *testing.T) {
	w := newWorld(t, "image")
	for name, c := range map[string]struct {
		pin    []byte
		digest bool
		sha256 bool
	}{"manifest": {}, "manifest and a pin": {pin: w.digest, sha256: true}, "asked for": {digest: true, sha256: true}} {
		t.Run(name, func(t *testing.T) {
			s := w.serve(t)
			o, _ := order(t)
			o.Manifests, o.Keys, o.SHA256, o.Fetch.Digest = places(s.URL("dir/web.manifest")), manifest.Keys{w.key}, c.pin, c.digest
			if i := w.mustGet(t, o); (i.SHA256 != nil) != c.sha256 || !bytes.Equal(i.RootHash, w.root) {
				t.Errorf("sha256 %x, root hash %x", i.SHA256, i.RootHash)
			}
		})
	}
}

// places are locations by their URLs or paths.
func places(texts ...string) []ref.Location {
	var list []ref.Location
	for _, text := range texts {
		l, err := ref.Parse(text)
		if err != nil {
			panic(err)
		}
		list = append(list, l)
	}
	return list
}
