package verity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func imageBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b)
	return b
}

func build(t testing.TB, image []byte, o Options) (tree, root []byte) {
	t.Helper()
	var w bytes.Buffer
	root, err := Build(bytes.NewReader(image), int64(len(image)), &w, o)
	if err != nil {
		t.Fatal(err)
	}
	return w.Bytes(), root
}

// sizes cover no level, one, two and three, and their edges.
var sizes = []int{1, 2, 127, 128, 129, 128 * 128, 128*128 + 1}

func TestBuildOpenVerify(t *testing.T) {
	for _, blocks := range sizes {
		for _, workers := range []int{1, 3} {
			image := imageBytes(blocks * 4096)
			tree, root := build(t, image, Options{Salt: []byte("salt")})
			tr, err := Open(tree, root)
			if err != nil {
				t.Fatalf("%d blocks: %v", blocks, err)
			}
			if tr.Size() != int64(len(image)) || tr.Superblock().TreeSize() != int64(len(tree)) {
				t.Errorf("%d blocks: Size %d, TreeSize %d", blocks, tr.Size(), tr.Superblock().TreeSize())
			}
			v := tr.Verifier(workers)
			for at := 0; at < len(image); {
				// Odd pieces: whole blocks are kept, the tail comes again.
				piece := image[at:min(at+300_001, len(image))]
				n, err := v.Write(piece)
				if err != nil || n != len(piece)/4096*4096 {
					t.Fatalf("%d blocks: Write at %d: %d, %v", blocks, at, n, err)
				}
				if at += n; at < len(image) && v.Close() == nil {
					t.Fatalf("%d blocks: complete at byte %d", blocks, at)
				}
			}
			if err := v.Close(); err != nil {
				t.Errorf("%d blocks: %v", blocks, err)
			}
			if _, err := v.Write(make([]byte, 4096)); err == nil {
				t.Errorf("%d blocks: one more accepted", blocks)
			}
		}
	}
}

func TestWrongBlockIsNamed(t *testing.T) {
	image := imageBytes(300 * 4096)
	tree, root := build(t, image, Options{})
	tr, err := Open(tree, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]int{{0}, {299}, {150, 20, 280}} {
		bad := bytes.Clone(image)
		first := 300
		for _, b := range wrong {
			bad[b*4096+b] ^= 1
			first = min(first, b)
		}
		v := tr.Verifier(4)
		n, err := v.Write(bad)
		var m *MismatchError
		if n != first*4096 || !errors.As(err, &m) || !strings.Contains(err.Error(), fmt.Sprintf("block %d (byte %d) is ", first, first*4096)) {
			t.Errorf("blocks %v: %d, %v", wrong, n, err)
		}
		// It goes on there with the right bytes.
		if n2, err := v.Write(image[n:]); err != nil || n+n2 != len(image) || v.Close() != nil {
			t.Errorf("blocks %v: resumed: %d, %v", wrong, n2, err)
		}
		v.Reset()
		if n, err := v.Write(image); err != nil || n != len(image) {
			t.Errorf("after Reset: %d, %v", n, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	image := imageBytes(200 * 4096)
	tree, root := build(t, image, Options{Salt: []byte("s")})
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(tree)) }
	for name, bad := range map[string][]byte{
		"empty":         nil,
		"cut off":       tree[:len(tree)-1],
		"signature":     change(func(b []byte) []byte { b[0]++; return b }),
		"version":       change(func(b []byte) []byte { b[8]++; return b }),
		"type":          change(func(b []byte) []byte { b[12]--; return b }),
		"algorithm":     change(func(b []byte) []byte { b[32]++; return b }),
		"block size":    change(func(b []byte) []byte { b[65]++; return b }),
		"fewer blocks":  change(func(b []byte) []byte { b[72] = 199; return b }),
		"half of them":  change(func(b []byte) []byte { b[72] = 128; return b }),
		"one block":     change(func(b []byte) []byte { b[72] = 1; return b }),
		"more blocks":   change(func(b []byte) []byte { b[72] = 255; return b }),
		"no blocks":     change(func(b []byte) []byte { b[72] = 0; return b }),
		"huge":          change(func(b []byte) []byte { b[79] = 0xff; return b }),
		"salt":          change(func(b []byte) []byte { b[88]++; return b }),
		"salt size":     change(func(b []byte) []byte { b[81] = 0xff; return b }),
		"a leaf":        change(func(b []byte) []byte { b[len(b)-1-56*32] ^= 1; return b }),
		"the top level": change(func(b []byte) []byte { b[4096] ^= 1; return b }),
		"padding":       change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
	} {
		tr, err := Open(bad, root)
		if err != nil {
			continue
		}
		// With one block the tree is empty and the root hash is the block's
		// own: the block itself can't match.
		if _, err := tr.Verifier(1).Write(image[:4096]); name != "one block" || err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Open(tree, root[:31]); err == nil {
		t.Error("a short root hash is accepted")
	}
}

func veritysetup(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("veritysetup")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/veritysetup"); err != nil {
			t.Skip("needs veritysetup (apt-get install cryptsetup-bin)")
		}
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("veritysetup %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestVeritysetup(t *testing.T) {
	for _, c := range []struct {
		blocks, data, hash int
		salt               string
	}{
		{1, 4096, 4096, "-"}, {2, 4096, 4096, "00ff"}, {128, 4096, 4096, "-"}, {129, 4096, 4096, strings.Repeat("ab", 32)},
		{16385, 512, 512, "01"}, {300, 1024, 4096, strings.Repeat("cd", 256)}, {300, 4096, 1024, "-"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			dir := t.TempDir()
			imagePath, theirs, ours := filepath.Join(dir, "image"), filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
			image := imageBytes(c.blocks * c.data)
			if err := os.WriteFile(imagePath, image, 0o600); err != nil {
				t.Fatal(err)
			}
			out := veritysetup(t, "format", "--data-block-size", fmt.Sprint(c.data), "--hash-block-size", fmt.Sprint(c.hash),
				"--salt", c.salt, "--uuid", "01020304-0506-0708-090a-0b0c0d0e0f10", imagePath, theirs)
			_, rest, _ := strings.Cut(out, "Root hash:")
			root, err := hex.DecodeString(strings.Fields(rest)[0])
			if err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			tree, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := Open(tree, root)
			if err != nil {
				t.Fatalf("theirs: %v", err)
			}
			v := tr.Verifier(2)
			if n, err := v.Write(image); err != nil || n != len(image) || v.Close() != nil {
				t.Errorf("theirs: %d, %v, %v", n, err, v.Close())
			}
			mine, mineRoot := build(t, image, Options{UUID: tr.Superblock().UUID, Salt: tr.Superblock().Salt, DataBlockSize: c.data, HashBlockSize: c.hash})
			if !bytes.Equal(mineRoot, root) || !bytes.Equal(mine, tree) {
				t.Errorf("ours differs: root %x, want %x; same tree %v", mineRoot, root, bytes.Equal(mine, tree))
			}
			if err := os.WriteFile(ours, mine, 0o600); err != nil {
				t.Fatal(err)
			}
			veritysetup(t, "verify", imagePath, ours, hex.EncodeToString(mineRoot))
		})
	}
}

func FuzzSuperblock(f *testing.F) {
	f.Add(Superblock{DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 77, Salt: []byte("abc")}.marshal())
	f.Add(Superblock{DataBlockSize: 512, HashBlockSize: 65536, DataBlocks: 1 << 40}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSuperblock(b)
		if err != nil {
			return
		}
		if n := s.TreeSize(); n < int64(s.HashBlockSize) || n > dataMost {
			t.Errorf("%+v has a tree of %d bytes", s, n)
		}
		again, err := ParseSuperblock(s.marshal())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%+v written out is %+v, %v", s, again, err)
		}
	})
}

// FuzzOpen changes a good tree: whatever is still accepted vouches for the same
// image and no other.
func FuzzOpen(f *testing.F) {
	image := imageBytes(40 * 512)
	tree, root := build(f, image, Options{DataBlockSize: 512, HashBlockSize: 512, Salt: []byte("x")})
	f.Add(0, []byte{1})
	f.Add(72, []byte{39})
	f.Add(64, []byte{0, 4})
	f.Add(len(tree)-1, []byte{1})
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		bad := bytes.Clone(tree)
		if at < 0 || at > len(bad) {
			return
		}
		copy(bad[at:], patch)
		tr, err := Open(bad, root)
		if err != nil {
			return
		}
		v := tr.Verifier(2)
		n, err := v.Write(image)
		if err == nil && v.Close() == nil && tr.Size() != int64(len(image)) {
			t.Errorf("a tree changed at %d accepts %d bytes as the whole image", at, n)
		}
	})
}

// What is no tree is refused at its head, whatever comes after it.
func TestCollectorOfNoTree(t *testing.T) {
	zeros := make([]byte, 64<<10)
	if n, err := Collect(make([]byte, 32)).Write(zeros); n != 0 || err == nil {
		t.Errorf("%d bytes of zeros are kept, %v", n, err)
	}
	huge := Superblock{DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 1 << 33}.marshal()
	if _, err := Collect(make([]byte, 32)).Write(huge); err == nil || !strings.Contains(err.Error(), "at most 256 MiB") {
		t.Error(err)
	}
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Read(f, make([]byte, 32)); err == nil {
		t.Error("/dev/zero is a tree")
	}
}
