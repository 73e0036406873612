package qemutests

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aead.dev/minisign"

	"netstage/cmd/netstage/image"
	"netstage/fetch/faulty"
	"netstage/fetch/manifest"
	"netstage/fetch/verity"
	"netstage/qemu-tests/system"
)

// An artifact is an image and its digest.
type artifact struct {
	path   string
	sha256 string // hex
}

// pack makes a squashfs image of files.
func pack(t testing.TB, files system.Files, wholeRoot bool) artifact {
	t.Helper()
	return packIn(t, t.TempDir(), files, wholeRoot)
}

func packIn(t testing.TB, dir string, files system.Files, wholeRoot bool) artifact {
	t.Helper()
	if err := files.Write(filepath.Join(dir, "tree")); err != nil {
		t.Fatal(err)
	}
	report, err := image.Build(context.Background(), image.Options{
		Source: filepath.Join(dir, "tree"), WholeRoot: wholeRoot, AllRoot: wholeRoot, Output: filepath.Join(dir, "image.squashfs"),
		Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return artifact{report.Path, hex.EncodeToString(report.SHA256[:])}
}

// store packs a store with a toplevel.
func store(t testing.TB, toplevel system.Files) artifact {
	t.Helper()
	files, err := system.Store(toplevel)
	if err != nil {
		t.Fatal(err)
	}
	return pack(t, files, false)
}

// classic is a toplevel whose init tells what it finds and powers off.
func classic() system.Files {
	return system.Files{"init": system.Script(system.Tell + system.PowerOff), "nixos-version": "25.05"}
}

// vouched is an image with all that may vouch for it.
type vouched struct {
	artifact
	content, tree   []byte
	root            string // hex
	key             minisign.PrivateKey
	dir             string // with the tree, the manifest and the public keys: ops.pub, other.pub
	body, signature []byte // of the manifest
}

func vouch(t *testing.T) vouched {
	t.Helper()
	return vouchFor(t, store(t, classic()))
}

func vouchFor(t *testing.T, a artifact) vouched {
	t.Helper()
	return vouchIn(t, t.TempDir(), a)
}

// vouchOnce is a store with a toplevel, packed once for all tests: no test may
// write to its files.
func vouchOnce(t *testing.T, toplevel system.Files) vouched {
	t.Helper()
	key, err := json.Marshal(toplevel) // its names sorted
	if err != nil {
		t.Fatal(err)
	}
	built.Lock()
	defer built.Unlock()
	if v, ok := built.images[string(key)]; ok {
		return v
	}
	dir, err := os.MkdirTemp(built.dir, "image-")
	if err != nil {
		t.Fatal(err)
	}
	files, err := system.Store(toplevel)
	if err != nil {
		t.Fatal(err)
	}
	v := vouchIn(t, dir, packIn(t, dir, files, false))
	built.images[string(key)] = v
	return v
}

func vouchIn(t *testing.T, dir string, a artifact) vouched {
	t.Helper()
	// Not beside the image, where the tool looks for a tree of its own.
	v := vouched{artifact: a, dir: filepath.Join(dir, "vouched")}
	var err error
	if v.content, err = os.ReadFile(v.path); err != nil {
		t.Fatal(err)
	}
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(v.content), int64(len(v.content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	v.tree, v.root = tree.Bytes(), fmt.Sprintf("%x", root)
	for _, name := range []string{"other.pub", "ops.pub"} {
		var public minisign.PublicKey
		if public, v.key, err = minisign.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
		text, err := public.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(v.dir, name), string(text))
	}
	m := manifest.Manifest{Name: "test", Created: time.Now(), Init: system.Init, Images: []manifest.Image{{Path: "image.squashfs", Size: int64(len(v.content))}}}
	if err := m.Images[0].SHA256.UnmarshalText([]byte(v.sha256)); err != nil {
		t.Fatal(err)
	}
	m.Images[0].RootHash = root
	if v.body, err = m.Marshal(); err != nil {
		t.Fatal(err)
	}
	if v.signature, err = manifest.Sign(v.key, v.body, "test"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"image.squashfs.verity": v.tree, "test.manifest": v.body, "test.manifest.minisig": v.signature} {
		writeFile(t, v.file(name), string(text))
	}
	return v
}

// addTo serves what vouches for the image.
func (v vouched) addTo(s *faulty.Server) {
	s.Add("image.squashfs.verity", v.tree)
	s.Add("test.manifest", v.body)
	s.Add("test.manifest.minisig", v.signature)
}

// file is one of the files that vouch for the image.
func (v vouched) file(name string) string { return filepath.Join(v.dir, name) }
