package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// MetadataImage makes the image of an /etc as nixpkgs does
// (build-composefs-dump.py): files without contents, whose attributes say which
// file of the base folder has them.
func metadataImage(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	for name, content := range files {
		file := filepath.Join(tree, name)
		write(t, file, "")
		if target, ok := strings.CutPrefix(content, "->"); ok {
			os.Remove(file)
			if err := os.Symlink(target, file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.Truncate(file, int64(len(content))); err != nil {
			t.Fatal(err)
		}
		for key, value := range map[string]string{"trusted.overlay.metacopy": "", "trusted.overlay.redirect": "/" + name} {
			if err := unix.Setxattr(file, key, []byte(value), 0); err != nil {
				t.Skipf("needs a file system with trusted attributes: %v", err)
			}
		}
	}
	image := filepath.Join(t.TempDir(), "etc.erofs")
	if out, err := exec.Command("mkfs.erofs", image, tree).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.erofs: %v\n%s", err, out)
	}
	return image
}

// What was written to /etc hides nothing of a newer system but what it
// replaces.
func TestClearOpaque(t *testing.T) {
	needRoot(t)
	lower, upper := t.TempDir(), mountPoint(t)
	for _, dir := range []string{lower + "/nixos/sub", upper + "/nixos/sub", upper + "/only-upper", lower + "/file"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Links lead nowhere.
	outside := upper + "/only-upper"
	if err := os.Symlink(outside, upper+"/file"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/nixos", "/nixos/sub", "/only-upper"} {
		if err := unix.Setxattr(upper+dir, opaque, []byte("y"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := clearOpaque(lower, upper); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"/nixos": false, "/nixos/sub": false, "/only-upper": true} {
		_, err := unix.Getxattr(upper+dir, opaque, make([]byte, 8))
		if got := err == nil; got != want {
			t.Errorf("%s: opaque %v, %v", dir, got, err)
		}
	}
}

func TestEtc(t *testing.T) {
	needRoot(t)
	var name unix.Utsname
	if unix.Uname(&name) == nil && !newerThan(unix.ByteSliceToString(name.Release[:]), 6, 5) {
		t.Skip("needs Linux 6.5: QEMU tests it")
	}
	base := t.TempDir()
	write(t, base+"/hello", "hello")
	image := metadataImage(t, map[string]string{"hello": "hello", "dir/link": "->/hello"})
	for _, readOnly := range []bool{false, true} {
		root := mountPoint(t)
		e := Etc{Image: image, Basedir: base, Metadata: root + "/metadata", ReadOnly: readOnly}
		if err := e.Do(root); err != nil {
			t.Fatal(err)
		}
		if got := read(t, root+"/etc/hello"); got != "hello" {
			t.Errorf("%q", got)
		}
		if err := os.WriteFile(root+"/etc/new", nil, 0o644); (err == nil) == readOnly {
			t.Errorf("read-only %v: written %v", readOnly, err)
		}
		Discard(root + "/etc")
		Discard(root + "/metadata")
	}
}

func newerThan(release string, major, minor int) bool {
	var a, b int
	for i, field := range strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' }) {
		n := 0
		for _, c := range field {
			n = n*10 + int(c-'0')
		}
		if i == 0 {
			a = n
		} else if i == 1 {
			b = n
		}
	}
	return a > major || a == major && b >= minor
}
