package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netstage/mount/loop"
)

// isoWith is an ISO image of files, by their names in it.
func isoWith(t *testing.T, files map[string]*os.File) *os.File {
	t.Helper()
	dir, iso := t.TempDir(), filepath.Join(t.TempDir(), "x.iso")
	for name, from := range files {
		write(t, filepath.Join(dir, name), read(t, from.Name()))
	}
	if out, err := exec.Command("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", iso, dir).CombinedOutput(); err != nil {
		t.Fatalf("xorriso: %v\n%s", err, out)
	}
	file, err := os.Open(iso)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestISO has the image of a system in an ISO image, alone, among others, and
// not at all; as a file, and as a device.
func TestISO(t *testing.T) {
	needRoot(t)
	store := squashfs(t, map[string]string{"hello": "store"})
	other := squashfs(t, map[string]string{"hello": "other"})
	text := filepath.Join(t.TempDir(), "readme")
	write(t, text, strings.Repeat("no image\n", 1000))
	plain, err := os.Open(text)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for name, c := range map[string]struct {
		files  map[string]*os.File
		inside string // empty: refused
		says   string
	}{
		"the only one":   {map[string]*os.File{"live/filesystem.squashfs": other, "readme": plain}, "/live/filesystem.squashfs", "other"},
		"the store":      {map[string]*os.File{"a.squashfs": other, "nix-store.squashfs": store}, "/nix-store.squashfs", "store"},
		"several":        {map[string]*os.File{"a.squashfs": other, "b.squashfs": store}, "", "several images in it: /a.squashfs, /b.squashfs"},
		"none":           {map[string]*os.File{"readme": plain}, "", "without a squashfs or erofs"},
		"none, and more": {map[string]*os.File{"readme": plain, "x/y/readme": plain}, "", "without a squashfs or erofs"},
	} {
		t.Run(name, func(t *testing.T) {
			iso := isoWith(t, c.files)
			kind, inside, err := TypeOf(iso)
			if c.inside == "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if kind != "squashfs" || inside != c.inside || err != nil {
				t.Fatalf("%s at %q, want %q: %v", kind, inside, c.inside, err)
			}
			tree, err := OpenImage(iso)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, tree.Path()+"/hello"); got != c.says {
				t.Errorf("it reads %q", got)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			// A stream, or dm-verity: the ISO image is a device.
			device, err := loop.Attach(iso, true)
			if err != nil {
				t.Fatal(err)
			}
			defer device.Close()
			if n, err := LengthOf(device); n != size(t, iso) || err != nil {
				t.Errorf("the ISO image has %d bytes, want %d: %v", n, size(t, iso), err)
			}
			if tree, err = OpenImage(device); err != nil {
				t.Fatal(err)
			}
			if got := read(t, tree.Path()+"/hello"); got != c.says {
				t.Errorf("from a device it reads %q", got)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			device.Close()
			if left := loopsOf(t, iso.Name()); len(left) > 0 {
				t.Errorf("loop devices are left: %q", left)
			}
		})
	}
}

func size(t *testing.T, file *os.File) int64 {
	t.Helper()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
