package mount

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/mount/block"
	"netstage/mount/loop"
)

// A file system that nobody took down says so, and one that is mounted mends
// itself by its journal, read-only or not; who only looks changes nothing. Nor
// does its superblock say what becomes of errors: it could be a panic.
func TestLookingWritesNothing(t *testing.T) {
	needRoot(t)
	supported, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	for kind, test := range map[string]struct {
		size int64
		make []string
	}{
		"ext4": {32 << 20, []string{"mkfs.ext4", "-q", "-e", "remount-ro"}}, "ext3": {32 << 20, []string{"mkfs.ext3", "-q", "-e", "remount-ro"}}, "ext2": {32 << 20, []string{"mkfs.ext2", "-q", "-e", "remount-ro"}},
		"xfs": {320 << 20, []string{"mkfs.xfs", "-q"}}, "btrfs": {128 << 20, []string{"mkfs.btrfs", "-q"}},
	} {
		t.Run(kind, func(t *testing.T) {
			if !strings.Contains(string(supported), "\t"+kind+"\n") {
				t.Skip("this kernel has no " + kind)
			}
			dir, at := t.TempDir(), mountPoint(t)
			write(t, dir+"/disk", "")
			if err := os.Truncate(dir+"/disk", test.size); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(test.make[0], append(test.make[1:], dir+"/disk")...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := (Mount{Type: kind, Source: dir + "/disk", Target: at}).loop(); err != nil {
				t.Fatal(err)
			}
			write(t, at+"/file", strings.Repeat("x", 100000))
			root, err := os.Open(at)
			if err != nil {
				t.Fatal(err)
			}
			unix.Syncfs(int(root.Fd()))
			root.Close()
			dirty, err := os.ReadFile(dir + "/disk") // as a power cut leaves it
			if err != nil {
				t.Fatal(err)
			}
			if err := Discard(at); err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/dirty", string(dirty))
			file, err := os.OpenFile(dir+"/dirty", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			device, err := loop.Attach(file, false)
			if err != nil {
				t.Fatal(err)
			}
			defer device.Close()
			m := Mount{Type: kind, Source: device.Name(), Target: at, Options: strings.TrimSuffix("ro,"+block.KindOf(kind).NoPanic, ","), Try: block.KindOf(kind).LookOnly}
			if err := m.Do(); err != nil {
				t.Fatal(err)
			}
			told, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Fatal(err)
			}
			_, line, _ := strings.Cut(string(told), " "+at+" ")
			if line, _, _ = strings.Cut(line, "\n"); strings.HasPrefix(kind, "ext") && !strings.Contains(line, "errors=continue") {
				t.Errorf("errors are as the superblock has it: %s", line)
			}
			if _, err := os.Stat(at + "/file"); err != nil && kind != "btrfs" {
				t.Logf("before its journal: %v", err)
			}
			if err := Discard(at); err != nil {
				t.Fatal(err)
			}
			unix.Fsync(int(device.Fd()))
			after, err := os.ReadFile(dir + "/dirty")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(after, dirty) {
				t.Error("a look has changed it")
			}
		})
	}
}
