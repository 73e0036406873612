package fetch

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/fetch/verity"
	"netstage/stage1/fault"
)

// treeOf is a tree of content.
func treeOf(t testing.TB, content []byte) *verity.Tree {
	t.Helper()
	var w bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &w, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := verity.Open(w.Bytes(), root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// verityRequest is a request for content that a tree vouches for, and the
// tree's own download.
func verityRequest(t *testing.T, content []byte, urls ...string) (Request, *story) {
	t.Helper()
	var w bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &w, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, w.Bytes())
	ofTree, _ := quick(t, nil, s.URL("x.verity"))
	blob, err := GetBlob(soon(t), ofTree, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blob.Close() })
	tree, err := verity.Open(blob.Bytes, root)
	if err != nil {
		t.Fatal(err)
	}
	r, log := quick(t, nil, urls...)
	r.Verify, r.Size = tree.Verifier(2), tree.Size()
	return r, log
}

func TestVerity(t *testing.T) {
	content := imageBytes(6 << 20)
	const wrongBlock = 700
	wrong := faulty.Behaviour{Flip: []int64{wrongBlock*4096 + 9}, Times: -1}
	t.Run("good", func(t *testing.T) {
		s := serve(t, content)
		r, log := verityRequest(t, content, s.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, ", verified")
	})
	t.Run("with a digest as well", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 5_000_000})
		r, _ := verityRequest(t, content, s.URL("x"))
		r.SHA256 = sum(content)
		mustGet(t, r, content)
		r, _ = verityRequest(t, content, s.URL("x"))
		r.SHA256 = sum([]byte("other"))
		mustFail(t, r, "mismatch")
	})
	t.Run("resumed at the last verified block", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 100*4096 + 1000})
		r, _ := verityRequest(t, content, s.URL("x"))
		mustGet(t, r, content)
		if got := s.Log()[1].Range; got != fmt.Sprintf("bytes=%d-", 100*4096) {
			t.Errorf("resumed with %q", got)
		}
	})
	t.Run("a wrong block is found at once and blamed on its mirror", func(t *testing.T) {
		bad, good := serve(t, content, wrong), serve(t, content)
		r, log := verityRequest(t, content, bad.URL("x"), good.URL("x"))
		image := mustGet(t, r, content)
		log.mustSay(t, fmt.Sprintf("%s serves a wrong image: block %d (byte %d) is ", bad.Addr(), wrongBlock, wrongBlock*4096))
		if l := good.Log(); len(l) != 1 || l[0].Range != fmt.Sprintf("bytes=%d-", wrongBlock*4096) || image.Stats.Restarts != 0 {
			t.Errorf("the good mirror was asked for %q, stats %+v", l[0].Range, image.Stats)
		}
		if len(bad.Log()) != 1 {
			t.Errorf("the wrong mirror was asked %d times", len(bad.Log()))
		}
	})
	t.Run("wrong everywhere", func(t *testing.T) {
		a, b := serve(t, content, wrong), serve(t, content, faulty.Behaviour{Flip: []int64{0, wrongBlock * 4096}, Times: -1})
		r, _ := verityRequest(t, content, a.URL("x"), b.URL("x"))
		err := mustFail(t, r, "mismatch")
		if !strings.Contains(err.Error(), "block 700") {
			t.Error(err)
		}
	})
	t.Run("short without length, and longer than the tree", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{NoLength: true, End: faulty.EndClose, Cut: 4_000_000})
		r, _ := verityRequest(t, content, s.URL("x"))
		mustGet(t, r, content)
		s = serve(t, append(bytes.Clone(content), 1), faulty.Behaviour{NoLength: true})
		r, _ = verityRequest(t, content, s.URL("x"))
		mustFail(t, r, "mismatch")
	})
}

func TestGetBlob(t *testing.T) {
	content := imageBytes(100_000)
	s := serve(t, content, faulty.Behaviour{End: faulty.EndReset, Cut: 50_000})
	r, _ := quick(t, content, s.URL("manifest.json"))
	blob, err := GetBlob(soon(t), r, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(blob.Bytes, content) || blob.Source != s.URL("manifest.json") {
		t.Errorf("%d bytes from %s", len(blob.Bytes), blob.Source)
	}
	if err := blob.Close(); err != nil {
		t.Error(err)
	}
	for _, b := range []faulty.Behaviour{{}, {NoLength: true}} {
		s := serve(t, content, b)
		r, _ = quick(t, nil, s.URL("x"))
		if _, err := GetBlob(soon(t), r, 99_999); err == nil || fault.ClassOf(err) != fault.TooLarge {
			t.Errorf("%+v: %v", b, err)
		}
	}
}
