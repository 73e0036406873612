package mount

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"netstage/mount/loop"
	"netstage/stage1/fault"
)

// The tests run in a mount namespace of their own, so that nothing they mount
// outlives them, whatever happens.
func TestMain(m *testing.M) {
	const inside = "MOUNT_TEST_INSIDE"
	if os.Getenv(inside) != "" || os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
}

// squashfs packs a tree of files and opens the image.
func squashfs(t *testing.T, files map[string]string) *os.File {
	t.Helper()
	needRoot(t)
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image.squashfs")
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	if out, err := exec.Command("mksquashfs", dir, image, "-no-progress", "-quiet").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// mountPoint is a temporary directory that is unmounted before it is removed.
func mountPoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		for _, m := range mountsBelow(t, dir) {
			_, at, _ := strings.Cut(m, " ")
			at, _, _ = strings.Cut(at, " ")
			Discard(dir + at)
		}
		Discard(dir)
	})
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// mountsBelow lists "type target-relative-to-dir options" of what is mounted
// at dir and below.
func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(read(t, "/proc/self/mounts")) {
		f := strings.Fields(line)
		if f[1] == dir || strings.HasPrefix(f[1], dir+"/") {
			found = append(found, f[2]+" "+strings.TrimPrefix(f[1], dir)+" "+f[3])
		}
	}
	return found
}

func TestNixStore(t *testing.T) {
	image := squashfs(t, map[string]string{"abc-hello/bin/hello": "hi", "nix-path-registration": ""})
	root := mountPoint(t)
	tree, err := OpenImage(image)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, tree.Path()+"/abc-hello/bin/hello"); got != "hi" {
		t.Errorf("before it is attached the image reads %q", got)
	}
	if err := NixStore(root, Volatile, tree); err != nil {
		t.Fatal(err)
	}
	tree.Close()

	got := mountsBelow(t, root)
	want := []string{"tmpfs  rw", "squashfs /nix/.ro-store ro", "tmpfs /nix/.rw-store rw", "overlay /nix/store rw"}
	if len(got) != len(want) {
		t.Fatalf("mounted:\n%s", strings.Join(got, "\n"))
	}
	// The kernel lists them in the order they were made in, not attached.
	table := strings.Join(got, "\n") + "\n"
	for _, line := range want {
		if !strings.Contains("\n"+table, "\n"+line) {
			t.Errorf("no mount %q in\n%s", line, table)
		}
	}
	for _, layer := range []string{"lowerdir=" + root + "/nix/.ro-store", "upperdir=" + root + "/nix/.rw-store/store", "workdir=" + root + "/nix/.rw-store/work"} {
		if !strings.Contains(table, layer) {
			t.Errorf("no %s in\n%s", layer, table)
		}
	}
	write(t, root+"/nix/store/new", "written")
	if read(t, root+"/nix/store/abc-hello/bin/hello") != "hi" || read(t, root+"/nix/.rw-store/store/new") != "written" {
		t.Error("the overlay does not join its layers")
	}
	for _, dir := range []string{"", "/nix/.rw-store", "/nix/store", "/nix/.rw-store/store"} {
		if info, err := os.Stat(root + dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("mode of %q: %v, %v", dir, info.Mode(), err)
		}
	}

	loops := loopsOf(t, image.Name())
	if len(loops) != 1 {
		t.Errorf("loop devices of the image: %v", loops)
	}
	if err := Discard(root); err != nil || len(mountsBelow(t, root)) != 0 || len(loopsOf(t, image.Name())) != 0 {
		t.Errorf("after Discard (%v): %v, loops %v", err, mountsBelow(t, root), loopsOf(t, image.Name()))
	}
	if err := Discard(root); err != nil {
		t.Errorf("a second Discard: %v", err)
	}
}

func loopsOf(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range backing {
		// A device may go while being looked at.
		if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == file {
			found = append(found, name)
		}
	}
	return found
}

func TestErofs(t *testing.T) {
	needRoot(t)
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image.erofs")
	write(t, dir+"/abc-hello/bin/hello", "hi")
	if out, err := exec.Command("mkfs.erofs", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.erofs: %v\n%s", err, out)
	}
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if kind, inside, err := TypeOf(file); kind != "erofs" || inside != "" || err != nil {
		t.Errorf("TypeOf = %q, %v", kind, err)
	}
	tree, err := OpenImage(file)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if got := read(t, tree.Path()+"/abc-hello/bin/hello"); got != "hi" {
		t.Errorf("the image reads %q", got)
	}
	if err := os.Truncate(image, 2048); err != nil {
		t.Fatal(err)
	}
	if _, _, err := TypeOf(file); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("cut: %v", err)
	}
}

func TestWholeRoot(t *testing.T) {
	image := squashfs(t, map[string]string{"sbin/init": "x", "etc/passwd": "root"})
	root, layers := mountPoint(t), mountPoint(t)
	tree, err := OpenImage(image)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := WholeRoot(root, layers, Volatile, tree); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/etc/new", "written")
	if read(t, root+"/etc/passwd") != "root" || read(t, layers+"/rw/upper/etc/new") != "written" || read(t, layers+"/lower/sbin/init") != "x" {
		t.Error("the overlay does not join its layers")
	}
}

// A root that can't be finished leaves nothing behind.
func TestFailureIsUndone(t *testing.T) {
	image := squashfs(t, map[string]string{"a": ""})
	root := mountPoint(t)
	tree, err := OpenImage(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Attach(mountPoint(t)); err != nil {
		t.Fatal(err)
	}
	tree.Close() // attaching a closed tree fails
	if err := NixStore(root, Volatile, tree); fault.ClassOf(err) != fault.Mount {
		t.Errorf("NixStore = %v", err)
	}
	if left := mountsBelow(t, root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenImageRefuses(t *testing.T) {
	whole := squashfs(t, map[string]string{"data": random(t, 1<<16)})
	block := make([]byte, 4096)
	if _, err := whole.ReadAt(block, 0); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":                               "",
		"neither squashfs nor erofs":          "<html>404 not found" + strings.Repeat(".", 4096),
		"cut short: the squashfs says it has": string(block),
	} {
		file := filepath.Join(t.TempDir(), "image")
		write(t, file, text)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := OpenImage(f)
		f.Close()
		if err == nil {
			tree.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		if fault.ClassOf(err) != fault.BadImage || name != "empty" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if left := loopsOf(t, file); len(left) != 0 {
			t.Errorf("%s: loop devices left: %v", name, left)
		}
	}
}

// An image that is a disk ends where its file system does.
func TestLengthOf(t *testing.T) {
	image := squashfs(t, map[string]string{"data": random(t, 1<<16)})
	info, err := image.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := LengthOf(image); n != info.Size() || err != nil {
		t.Errorf("a file of %d bytes: %d, %v", info.Size(), n, err)
	}
	disk := t.TempDir() + "/disk"
	write(t, disk, read(t, image.Name())+strings.Repeat("x", 1<<20))
	file, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := loop.Attach(file, true)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if n, err := LengthOf(device); n != info.Size() || err != nil {
		t.Errorf("on a disk of %d bytes: %d, want %d, %v", info.Size()+1<<20, n, info.Size(), err)
	}
	tree, err := OpenImage(device)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, err := os.Stat(tree.Path() + "/data"); err != nil {
		t.Error(err)
	}
}

func random(t *testing.T, n int) string {
	t.Helper()
	data := make([]byte, n)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzRecognise: a superblock comes from the network.
func FuzzRecognise(f *testing.F) {
	f.Add([]byte("hsqs" + strings.Repeat("\xff", 2000)))
	f.Add([]byte(strings.Repeat("\x00", 1024) + "\xe2\xe1\xf5\xe0" + strings.Repeat("\xff", 200)))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "image")
		write(t, name, string(data))
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if m, err := recognise(file); err == nil && m.Type != "squashfs" && m.Type != "erofs" {
			t.Errorf("%+v", m)
		}
	})
}

func TestErrorsNameTheMount(t *testing.T) {
	needRoot(t)
	err := Mount{Type: "tmpfs", Source: "tmpfs", Target: mountPoint(t), Options: "nosuid,size=lots"}.Do()
	if err == nil || !strings.Contains(err.Error(), "size=lots") || !strings.Contains(err.Error(), "tmpfs") {
		t.Errorf("bad option: %v", err)
	}
	err = Mount{Type: "no-such-fs", Target: mountPoint(t)}.Do()
	if fault.ClassOf(err) != fault.NoFilesystem {
		t.Errorf("unknown type: %v", err)
	}
	if err := (Mount{Type: "tmpfs", Source: "tmpfs", Target: mountPoint(t), Options: "mode=0700", Try: "no-such-option=1"}).Do(); err != nil {
		t.Errorf("an option to be tried fails the mount: %v", err)
	}
}

func TestMountMissing(t *testing.T) {
	needRoot(t)
	dir := mountPoint(t)
	table := []Mount{
		{Type: "tmpfs", Source: "tmpfs", Target: dir + "/run", Options: "nosuid,nodev,strictatime,mode=755,size=25%"},
		{Type: "ramfs", Source: "ramfs", Target: dir + "/run/keys", Options: "nosuid,nodev,mode=750"},
	}
	for range 2 {
		if err := MountMissing(table); err != nil {
			t.Fatal(err)
		}
	}
	got := mountsBelow(t, dir)
	if len(got) != 2 || !strings.HasPrefix(got[0], "tmpfs /run rw,nosuid,nodev,size=") || !strings.HasPrefix(got[1], "ramfs /run/keys rw,nosuid,nodev") {
		t.Errorf("mounted: %q", got)
	}
	if info, err := os.Stat(dir + "/run/keys"); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("mode of /run/keys: %v, %v", info.Mode(), err)
	}
}

func TestSpecialFiles(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/etc/fstab", "kept")
	for range 2 {
		if err := SpecialFiles(root); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, root+"/etc/fstab") != "kept" || read(t, root+"/etc/initrd-release") != "" {
		t.Error("files")
	}
	for name, want := range links {
		if got, err := os.Readlink(root + name); got != want {
			t.Errorf("%s -> %q, %v", name, got, err)
		}
	}
}

func TestCopySecrets(t *testing.T) {
	root, secrets := t.TempDir(), t.TempDir()
	write(t, secrets+"/etc/ssh/key", "secret")
	write(t, root+"/etc/ssh/key", "older and longer")
	if err := os.Chmod(secrets+"/etc/ssh/key", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("key", secrets+"/etc/ssh/link"); err != nil {
		t.Fatal(err)
	}
	if n, err := CopySecrets(secrets, root); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if info, err := os.Stat(root + "/etc/ssh/key"); err != nil || info.Mode().Perm() != 0o600 || read(t, root+"/etc/ssh/link") != "secret" {
		t.Errorf("copied wrongly: %v, %v", info.Mode(), err)
	}
	if n, err := CopySecrets(root+"/none", root); n != 0 || err != nil {
		t.Errorf("without secrets: %d, %v", n, err)
	}
}
