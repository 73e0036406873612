package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"netstage/fetch/faulty"
	"netstage/fetch/kept"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/verity"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// an edition is an image with all that vouches for it.
type edition struct {
	content, tree, root     []byte
	body, signature, public []byte
}

const editionInit = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos/init"

func newEdition(t *testing.T, content []byte) edition {
	t.Helper()
	e := edition{content: content}
	var tree bytes.Buffer
	var err error
	if e.root, err = verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{Salt: []byte("series")}); err != nil {
		t.Fatal(err)
	}
	e.tree = tree.Bytes()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.public, err = public.MarshalText(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	m := manifest.Manifest{Name: "web", Created: time.Unix(1e9, 0), Init: editionInit,
		Images: []manifest.Image{{Path: "image", Size: int64(len(content)), SHA256: sum[:], RootHash: e.root}}}
	if e.body, err = m.Marshal(); err != nil {
		t.Fatal(err)
	}
	if e.signature, err = manifest.Sign(private, e.body, "test"); err != nil {
		t.Fatal(err)
	}
	return e
}

// yesterday and today are editions that differ by 10 of 300 blocks.
func editions(t *testing.T) (yesterday, today edition) {
	t.Helper()
	content := make([]byte, 300*4096)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(content)
	changed := bytes.Clone(content)
	for i := range 10 {
		changed[(50+i)*4096]++
	}
	return newEdition(t, content), newEdition(t, changed)
}

// keepOn keeps an edition on a disk.
func (e edition) keepOn(t *testing.T, dir string, seen time.Time) {
	t.Helper()
	disk, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	err = kept.Keep(t.Context(), disk, kept.Image{
		Record: kept.Record{Name: "web", Kept: seen, Seen: seen, Size: int64(len(e.content)), TreeSize: int64(len(e.tree)), RootHash: e.root,
			Init: editionInit, Manifest: e.body, Minisig: e.signature},
		File: bytes.NewReader(e.content), Tree: bytes.NewReader(e.tree),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (e edition) serve(t *testing.T, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.Listen("127.0.0.1:0", e.content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Add("image.verity", e.tree)
	s.Add("web.manifest", e.body)
	s.Add("web.manifest.minisig", e.signature)
	return s
}

// cached is a getter with a disk with earlier images.
func cached(t *testing.T, line, disk string, files map[string]string) (*Getter, *bytes.Buffer) {
	t.Helper()
	g, log := getter(t, line+" rootfs.cache.disk=LABEL=cache", files)
	g.Cache = &media{dir: disk}
	g.Network.Dial, g.Network.Base = new(net.Dialer).DialContext, ref.Base{}
	out := t.TempDir()
	g.Store = func() store.Store { return store.File(filepath.Join(out, "image")) }
	g.OfflineAfter = 300 * time.Millisecond
	return g, log
}

func (g *Getter) mustGet(t *testing.T, log *bytes.Buffer, want edition) *Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	image, err := g.Get(ctx)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	got, err := io.ReadAll(image.File)
	if err != nil || !bytes.Equal(got, want.content) {
		t.Errorf("%d bytes that are not the image's, %v\n%s", len(got), err, log)
	}
	if err := image.Close(); err != nil {
		t.Error(err)
	}
	return image
}

func line(s *faulty.Server, e edition) string {
	return "rootfs=" + s.URL("image") + " roothash=" + hex.EncodeToString(e.root)
}

// Only what changed since yesterday comes from the server, and what was got is
// to be kept.
func TestCachedImage(t *testing.T) {
	yesterday, today := editions(t)
	disk := t.TempDir()
	yesterday.keepOn(t, disk, time.Now().Add(-24*time.Hour))
	server := today.serve(t)
	g, log := cached(t, line(server, today), disk, nil)
	image := g.mustGet(t, log, today)
	sent := int64(0)
	for _, e := range server.Log() {
		if e.Path == "/image" {
			sent += e.Sent
		}
	}
	if image.Report.Cached != 290*4096 || sent > 12*4096 {
		t.Errorf("%d bytes from the disk, %d from the server\n%s", image.Report.Cached, sent, log)
	}
	o := image.Kept
	if o == nil || o.Disk != "LABEL=cache" || o.Salt != hex.EncodeToString([]byte("series")) || !bytes.Equal(o.Image.RootHash, today.root) || o.Image.Size != int64(len(today.content)) {
		t.Errorf("to be kept: %+v", o)
	}
	// A disk that is empty, or is none, is no disk.
	for _, empty := range []string{t.TempDir(), "/nowhere"} {
		g, log := cached(t, line(server, today), empty, nil)
		if image := g.mustGet(t, log, today); image.Report.Cached != 0 || image.Kept == nil {
			t.Errorf("%+v", image.Report)
		}
	}
	// An image that nothing vouches for is not kept: nobody could use it.
	g, log = cached(t, "rootfs="+server.URL("image"), disk, nil)
	if image := g.mustGet(t, log, today); image.Kept != nil {
		t.Errorf("to be kept: %+v", image.Kept)
	}
}

// On demand nothing of the disk is wanted in memory: it is left alone, unless
// an earlier image may be booted from it.
func TestOnDemandTheDiskIsLeft(t *testing.T) {
	yesterday, today := editions(t)
	disk := t.TempDir()
	yesterday.keepOn(t, disk, time.Now())
	server := today.serve(t)
	g, log := cached(t, line(server, today)+" rootfs.stream=demand", disk, nil)
	g.Cache = &media{dir: "/nowhere"}
	g.Stream = func(_ context.Context, s vouch.Streamed) (*vouch.Streaming, error) {
		if s.Seeded {
			t.Error("seeds are to be taken")
		}
		file, err := os.Open(os.DevNull)
		return &vouch.Streaming{File: file, End: file.Close, Ready: func(context.Context) error { return nil }}, err
	}
	image, err := g.Get(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := image.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "on demand nothing is taken from LABEL=cache") || strings.Contains(text, "is not used") {
		t.Errorf("log:\n%s", text)
	}
}

func TestLastGood(t *testing.T) {
	yesterday, today := editions(t)
	stranger := newEdition(t, yesterday.content)
	lastGood := config.Policy{LastGood: true, LastGoodFor: 30 * 24 * time.Hour}
	for name, c := range map[string]struct {
		line   func(away *faulty.Server) string
		key    []byte
		policy config.Policy
		keep   func(dir string)
		alone  bool // the network did not come up
		says   string
		fails  string // nothing is booted, and the servers are asked on
	}{
		"by its root hash": {
			line:   func(s *faulty.Server) string { return line(s, yesterday) },
			policy: lastGood, says: "which a server last had 1.0 days ago",
		},
		"by its signature": {
			line: func(s *faulty.Server) string { return "rootfs.manifest=" + s.URL("web.manifest") },
			key:  yesterday.public, policy: lastGood, says: `booting "web"`,
		},
		"without a network": {
			line: func(s *faulty.Server) string { return "rootfs.manifest=" + s.URL("web.manifest") },
			key:  yesterday.public, policy: lastGood, alone: true, says: "the network is not up",
		},
		"the latest is spoilt": {
			line: func(s *faulty.Server) string { return "rootfs.manifest=" + s.URL("web.manifest") },
			key:  yesterday.public, policy: lastGood, says: `booting "web"`,
			keep: func(dir string) {
				today.keepOn(t, dir, time.Now()) // signed by somebody else
			},
		},
		"the policy does not allow it": {
			line:  func(s *faulty.Server) string { return line(s, yesterday) },
			fails: "no image after",
		},
		"the policy allows an hour": {
			line:   func(s *faulty.Server) string { return line(s, yesterday) },
			policy: config.Policy{LastGood: true, LastGoodFor: time.Hour}, fails: "a server last had it 1.0 days ago, and the policy allows 0.0 days",
		},
		"signed by somebody else": {
			line: func(s *faulty.Server) string { return "rootfs.manifest=" + s.URL("web.manifest") },
			key:  stranger.public, policy: lastGood, fails: "no earlier one is used",
		},
		"signed by a key that a list may have replaced": {
			line: func(s *faulty.Server) string {
				return "rootfs.manifest=" + s.URL("web.manifest") + " rootfs.manifest.keys=" + s.URL("keys")
			},
			key: yesterday.public, policy: lastGood, fails: "none was kept with it",
		},
		"nothing vouches": {
			line:   func(s *faulty.Server) string { return "rootfs=" + s.URL("image") },
			policy: lastGood, fails: "no earlier one is used",
		},
		"another is asked for": {
			line:   func(s *faulty.Server) string { return line(s, today) },
			policy: lastGood, fails: "no earlier one is used",
		},
		"a bit flipped": {
			line:   func(s *faulty.Server) string { return line(s, yesterday) },
			policy: lastGood, fails: "no earlier one is used",
			keep: func(dir string) {
				f, err := os.OpenFile(dir+"/netstage-images/0/image", os.O_RDWR, 0)
				if err == nil {
					_, err = f.WriteAt([]byte{1, 2, 3}, 100*4096)
					f.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := t.TempDir()
			yesterday.keepOn(t, disk, time.Now().Add(-24*time.Hour))
			if c.keep != nil {
				c.keep(disk)
			}
			away := yesterday.serve(t)
			where := c.line(away)
			away.Close()
			files := map[string]string{}
			if c.key != nil {
				files["etc/netstage/trusted.d/ops.pub"] = string(c.key)
			}
			g, log := cached(t, where, disk, files)
			g.Config.Policy = c.policy
			if c.alone {
				g.Network = nil
			}
			if c.fails == "" {
				image := g.mustGet(t, log, yesterday)
				if !strings.Contains(log.String(), c.says) || image.Kept != nil || image.Report.OfflineHours == nil || *image.Report.OfflineHours < 23 {
					t.Errorf("%+v\n%s", image.Report, log)
				}
				if c.key != nil && image.Init != editionInit {
					t.Errorf("init %q", image.Init)
				}
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			image, err := g.Get(ctx)
			if err == nil {
				t.Fatalf("booted %+v\n%s", image.Report, log)
			}
			if text := log.String() + err.Error(); !strings.Contains(text, c.fails) {
				t.Errorf("no %q in\n%s", c.fails, text)
			}
		})
	}
}

// A server that refuses the image, or has a wrong one, is not away.
func TestNotAway(t *testing.T) {
	yesterday, today := editions(t)
	disk := t.TempDir()
	yesterday.keepOn(t, disk, time.Now())
	wrong := today.serve(t)
	wrong.Add("image.verity", yesterday.tree)
	wrong.Add("image", bytes.Repeat([]byte("wrong"), 300*4096))
	u, err := url.Parse(wrong.URL("image"))
	if err != nil {
		t.Fatal(err)
	}
	g, log := cached(t, fmt.Sprintf("rootfs=%s rootfs.sha256=%x roothash=%x", u, sha256.Sum256(today.content), yesterday.root), disk, nil)
	g.Config.Policy = config.Policy{LastGood: true, LastGoodFor: time.Hour}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if image, err := g.Get(ctx); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("%+v, %v\n%s", image, err, log)
	}
}

// The cache of the command line, else the one of DHCP, has what vouches;
// without a server it serves as one.
func TestRackCache(t *testing.T) {
	_, today := editions(t)
	for name, c := range map[string]struct{ line, dhcp string }{
		"asked for":      {" rootfs.cache={cache}", "http://127.0.0.1:1/"},
		"by DHCP":        {"", "{cache}"},
		"one that's off": {" rootfs.cache=http://127.0.0.1:1/", ""},
		"none":           {"", "tftp://x/"},
	} {
		t.Run(name, func(t *testing.T) {
			origin, rack := today.serve(t), today.serve(t)
			place := "http/" + origin.Addr() + "/image"
			rack.Add(place+".verity", today.tree)
			rack.Add(place, today.content)
			with := func(s string) string { return strings.ReplaceAll(s, "{cache}", rack.URL("")) }
			g, log := cached(t, line(origin, today)+with(c.line), "/nowhere", nil)
			g.Network.Cache = with(c.dhcp)
			g.mustGet(t, log, today)
			asked, ask := len(rack.Log()) > 0, strings.Contains(c.line+c.dhcp, "{cache}")
			if asked != ask || ask == (len(origin.Log()) > 0) {
				t.Errorf("cache asked: %v, origin: %d times\n%s", asked, len(origin.Log()), log)
			}
		})
	}
}
