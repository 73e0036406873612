package iso9660

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeISO has xorriso make an image of files, with options of mkisofs.
func makeISO(t testing.TB, files map[string]string, options ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("xorriso"); err != nil {
		t.Skip("xorriso is not there")
	}
	dir, iso := t.TempDir(), filepath.Join(t.TempDir(), "x.iso")
	for name, text := range files {
		place := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := append(append([]string{"-as", "mkisofs", "-quiet", "-o", iso}, options...), dir)
	if out, err := exec.Command("xorriso", args...).CombinedOutput(); err != nil {
		t.Fatalf("xorriso: %v\n%s", err, out)
	}
	image, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestFiles(t *testing.T) {
	want := map[string]string{
		"nix-store.squashfs": strings.Repeat("store", 10_000), "empty": "",
		"live/filesystem.squashfs": "root", "a/b/c/deep": "deep",
	}
	for i := range 200 { // a folder of several sectors
		want[fmt.Sprintf("many/file-with-a-long-name-%d", i)] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		options []string
		names   func(string) string
	}{
		{[]string{"-R", "-J"}, func(s string) string { return s }},
		{[]string{"-r", "-iso-level", "3"}, func(s string) string { return s }},
		{[]string{"-iso-level", "3"}, nil},
	} {
		image := bytes.NewReader(makeISO(t, want, c.options...))
		if !Is(image) {
			t.Fatalf("%v: not taken for an ISO image", c.options)
		}
		v, err := Open(image)
		if err != nil {
			t.Fatal(err)
		}
		if v.Size <= 0 || v.Size > image.Size() {
			t.Errorf("%v: %d bytes of %d", c.options, v.Size, image.Size())
		}
		files, err := v.Files()
		if err != nil || len(files) != len(want) {
			t.Fatalf("%v: %d files, want %d: %v", c.options, len(files), len(want), err)
		}
		for _, f := range files {
			got := make([]byte, f.Size)
			if _, err := image.ReadAt(got, f.Offset); err != nil && f.Size > 0 {
				t.Fatal(err)
			}
			if c.names == nil {
				if f.Path == "/NIX_STORE.SQUASHFS" && string(got) != want["nix-store.squashfs"] {
					t.Errorf("%s: %d bytes", f.Path, len(got))
				}
				continue
			}
			if text, ok := want[strings.TrimPrefix(f.Path, "/")]; !ok || text != string(got) {
				t.Errorf("%v: %s: %.40q, want %.40q", c.options, f.Path, got, text)
			}
		}
	}
}

// TestPieces has records of files as large ones have them.
func TestPieces(t *testing.T) {
	got := joinPieces([]record{
		{extent: extent{0, 10 * sector}, name: "big", continues: true}, {extent: extent{10 * sector, 5}, name: "big"},
		{extent: extent{1 << 20, sector}, name: "apart", continues: true}, {extent: extent{1 << 21, 5}, name: "apart"},
		{extent: extent{1 << 22, 7}, name: "small"}, {extent: extent{1 << 23, 7}, name: "cut", continues: true},
	})
	var text []string
	for _, r := range got {
		text = append(text, fmt.Sprintf("%s %d %d %v", r.name, r.at, r.size, r.pieces))
	}
	if s := strings.Join(text, ", "); s != "big 0 20485 false, apart 1048576 2053 true, small 4194304 7 false, cut 8388608 7 false" {
		t.Error(s)
	}
}

func TestNoISO(t *testing.T) {
	image := makeISO(t, map[string]string{"a": "a"})
	whole, err := Open(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"nothing": nil, "short": image[:descriptors+100], "another file": make([]byte, 1<<20), "cut off": image[:whole.root.at+100]} {
		r := bytes.NewReader(b)
		v, err := Open(r)
		if err == nil {
			_, err = v.Files()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzFiles has images with anything in their descriptor and folders.
func FuzzFiles(f *testing.F) {
	if image := makeISO(f, map[string]string{"a": "a", "b/c": "c"}, "-R"); len(image) > 40*sector {
		f.Add(image[descriptors : 40*sector])
	}
	f.Fuzz(func(t *testing.T, tail []byte) {
		r := bytes.NewReader(append(make([]byte, descriptors), tail...))
		v, err := Open(r)
		if err != nil {
			return
		}
		files, err := v.Files()
		if err != nil {
			return
		}
		for _, f := range files {
			if f.Offset < 0 || f.Size < 0 || !strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path, "..") && strings.Contains(f.Path, "/../") {
				t.Errorf("%+v", f)
			}
		}
	})
}
