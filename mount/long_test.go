package mount

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Options may be longer than a call of the kernel takes: those of an overlay of
// many layers, of others by mount(2).
func TestLongOptions(t *testing.T) {
	needRoot(t)
	root := mountPoint(t)
	if err := (Mount{Type: "tmpfs", Source: "tmpfs", Target: root}).Do(); err != nil {
		t.Fatal(err)
	}
	layers := func(n int) string {
		var dirs []string
		for i := range n {
			dir := fmt.Sprintf("%s/layer-with-a-long-name-%d-%d", root, n, i)
			write(t, fmt.Sprintf("%s/file%d", dir, i), "x")
			dirs = append(dirs, dir)
		}
		return strings.Join(dirs, ":")
	}
	for _, dir := range []string{"up", "work", "up2", "work2"} {
		if err := os.Mkdir(root+"/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, options := range map[string]string{
		"by layers":   fmt.Sprintf("lowerdir=%s,upperdir=%[2]s/up,workdir=%[2]s/work,noatime", layers(100), root),
		"by mount(2)": fmt.Sprintf(`lowerdir=%s:%[2]s/up\:none,upperdir=%[2]s/up2,workdir=%[2]s/work2,noatime`, layers(20), root),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(root+"/up:none", 0o755); err != nil {
				t.Fatal(err)
			}
			m := Mount{Type: "overlay", Source: "overlay", Target: root + "/" + name, Options: options}
			if !isLong(options) {
				t.Fatal("short")
			}
			if err := m.Do(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(m.Target + "/file19"); err != nil {
				t.Error(err)
			}
			mounts, err := os.ReadFile("/proc/mounts")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(mounts), "noatime") {
				t.Error("it has lost noatime")
			}
		})
	}
}
