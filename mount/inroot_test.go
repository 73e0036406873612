package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The links of a new root lead into it, not into the initramfs: at mount
// points, sources and the layers of an overlay.
func TestLinksStayInTheNewRoot(t *testing.T) {
	needRoot(t)
	root, outside := mountPoint(t), t.TempDir()
	if err := (Mount{Type: "tmpfs", Source: "new", Target: root}).Do(); err != nil {
		t.Fatal(err)
	}
	write(t, root+outside+"/etc/file", "of the new root")
	write(t, outside+"/etc/file", "of the initramfs")
	for link, to := range map[string]string{"data": outside, "etc": outside + "/etc", "up": "../../../.." + outside, "nowhere": outside + "/missing"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		"tmpfs /data/disk tmpfs", "tmpfs /up/other tmpfs", "/etc/file /copy none bind", "/etc /folder none bind",
		"overlay /data/joined overlay lowerdir=/etc,upperdir=/data/made/up,workdir=/data/made/work",
	} {
		if err := entry(t, line).Do(t.Context(), root, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/copy", "/folder/file", outside + "/joined/file"} {
		if text, err := os.ReadFile(root + name); err != nil || string(text) != "of the new root" {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
	for _, name := range []string{"disk", "other"} {
		if !IsMountPoint(root + outside + "/" + name) {
			t.Errorf("%s is not mounted", name)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v %v", entries, err)
	}
	if err := entry(t, "tmpfs /nowhere tmpfs").Do(t.Context(), root, ""); err == nil || !strings.Contains(err.Error(), "a link to nothing") {
		t.Errorf("got %v", err)
	}
}

// A root that is made anew holds no image of an earlier try.
func TestTriesKeepNoImage(t *testing.T) {
	needRoot(t)
	root, layers := mountPoint(t), t.TempDir()
	image := squashfs(t, map[string]string{"nix/store/x": "y", "init": "z"})
	holders := func() int {
		files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == image.Name() {
				n++
			}
		}
		return n
	}
	for range 4 {
		if err := TakeDown(root, layers); err != nil {
			t.Fatal(err)
		}
		tree, err := OpenImage(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := WholeRoot(root, layers, Volatile, tree); err != nil {
			t.Fatal(err)
		}
		tree.Close()
	}
	if n := holders(); n != 1 {
		t.Errorf("after four tries %d loop devices hold the image", n)
	}
	if err := TakeDown(root, layers); err != nil {
		t.Fatal(err)
	}
}
