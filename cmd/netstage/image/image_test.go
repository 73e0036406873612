package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/nix"
)

const hashA, hashB = "0123456789abcdfghijklmnpqrsvwxyz", "zyxwvsrqpnmlkjihgfdcba9876543210"

// store makes a folder with two store paths in it, and returns it.
func store(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	write(t, filepath.Join(dir, hashA+"-hello", "bin", "hello"), "#!/bin/sh\n", 0o555)
	write(t, filepath.Join(dir, hashA+"-hello", ".hidden"), "seen", 0o444)
	write(t, filepath.Join(dir, hashB+"-file.conf"), strings.Repeat("text ", 1000), 0o444)
	write(t, filepath.Join(dir, nix.Registration), "registration", 0o644)
	link(t, "../../"+hashB+"-file.conf", filepath.Join(dir, hashA+"-hello", "conf"))
	return dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, o Options) Report {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "nix-store.squashfs")
	}
	report, err := Build(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// unsquashfs runs unsquashfs on an image and returns what it prints.
func unsquashfs(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("unsquashfs", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestStoreImage(t *testing.T) {
	report := build(t, Options{Source: store(t)})
	got := unsquashfs(t, "-lln", "-UTC", report.Path)
	for _, want := range []string{
		"drwxr-xr-x 0/0",
		"squashfs-root/" + hashA + "-hello/bin/hello\n",
		"squashfs-root/" + hashA + "-hello/.hidden\n",
		"squashfs-root/" + hashA + "-hello/conf -> ../../" + hashB + "-file.conf\n",
		"squashfs-root/" + hashB + "-file.conf\n",
		"squashfs-root/" + nix.Registration + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		if strings.Contains(line, "squashfs-root") && !strings.Contains(line, "1970-01-01 00:00") {
			t.Errorf("time stamp is not 1: %s", line)
		}
	}
	super := unsquashfs(t, "-s", report.Path)
	for _, want := range []string{"Compression zstd", "compression-level 19", "Block size 1048576"} {
		if !strings.Contains(super, want) {
			t.Errorf("%q is missing in\n%s", want, super)
		}
	}
	if report.Entries != 3 {
		t.Errorf("%d entries reported, want 3", report.Entries)
	}
}

func TestSingleStorePathKeepsItsName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	write(t, filepath.Join(dir, hashA+"-only", "file"), "x", 0o444)
	report := build(t, Options{Source: dir})
	if got := unsquashfs(t, "-l", report.Path); !strings.Contains(got, "squashfs-root/"+hashA+"-only/file\n") {
		t.Errorf("the store path's own name is lost:\n%s", got)
	}
}

func TestDigestBesideImage(t *testing.T) {
	report := build(t, Options{Source: store(t)})
	data, err := os.ReadFile(report.Path)
	if err != nil {
		t.Fatal(err)
	}
	if report.SHA256 != sha256.Sum256(data) || report.Size != int64(len(data)) {
		t.Errorf("report %x of %d bytes does not describe the file", report.SHA256, report.Size)
	}
	check := exec.Command("sha256sum", "--check", "--strict", filepath.Base(report.Path)+".sha256")
	check.Dir = filepath.Dir(report.Path)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum --check: %v\n%s", err, out)
	}
	digest, err := ReadDigest(report.Path)
	if err != nil || digest != fmt.Sprintf("%x", report.SHA256) {
		t.Errorf("ReadDigest: %q, %v", digest, err)
	}
	if info, err := os.Stat(report.Path); err != nil || info.Mode() != 0o644 {
		t.Errorf("image has mode %v, %v: servers could not read it", info.Mode(), err)
	}
}

func TestVerityTreeBesideImage(t *testing.T) {
	report := build(t, Options{Source: store(t)})
	root, err := ReadRootHash(report.Path)
	if err != nil || root != fmt.Sprintf("%x", report.RootHash) {
		t.Errorf("ReadRootHash: %q, %v", root, err)
	}
	out, err := exec.Command("veritysetup", "verify", report.Path, report.Path+".verity", "--root-hash-file="+report.Path+".roothash").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs veritysetup: Debian has it in cryptsetup-bin")
	}
	if err != nil {
		t.Errorf("veritysetup: %v\n%s", err, out)
	}
	if again := build(t, Options{Source: store(t)}); !bytes.Equal(again.RootHash, report.RootHash) {
		t.Error("the same image has another tree")
	}
	if err := os.Remove(report.Path + ".verity"); err != nil {
		t.Fatal(err)
	}
	if root, err := ReadRootHash(report.Path); root != "" || err != nil {
		t.Errorf("without a tree: %q, %v", root, err)
	}
	for _, bad := range []string{"", "12", root + "00", strings.Repeat("x", 64)} {
		if got, err := ParseRootHash([]byte(bad)); err == nil {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
}

func TestSameTreeSameBytes(t *testing.T) {
	first := build(t, Options{Source: store(t)})

	again := store(t)
	later := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(again, hashB+"-file.conf"), later, later); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(again, 0o700); err != nil {
		t.Fatal(err)
	}
	second := build(t, Options{Source: again})
	if first.SHA256 != second.SHA256 {
		t.Error("a copy of the tree elsewhere gives another image")
	}

	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	third := build(t, Options{Source: again})
	if !strings.Contains(unsquashfs(t, "-s", third.Path), "Nov 14") {
		t.Error("SOURCE_DATE_EPOCH is not the creation time")
	}
}

func TestWholeRootKeepsOwnersAndModes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: gives a file to another user")
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "bin", "su"), "x", 0o755)
	write(t, filepath.Join(root, "home", "user", "file"), "x", 0o600)
	if err := os.Chmod(filepath.Join(root, "bin", "su"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "home", "user", "file"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := build(t, Options{Source: root, WholeRoot: true})
	got := unsquashfs(t, "-lln", report.Path)
	for _, want := range []string{"-rwsr-xr-x 0/0", "-rw------- 1000/1000", "prw------- 0/0"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	owned := build(t, Options{Source: root, WholeRoot: true, AllRoot: true})
	if got := unsquashfs(t, "-lln", owned.Path); strings.Contains(got, "1000/1000") {
		t.Errorf("AllRoot leaves an owner:\n%s", got)
	}
}

func TestCompressions(t *testing.T) {
	dir := store(t)
	for flag, want := range map[string]string{
		"gzip":   "Compression gzip",
		"gzip:1": "compression-level 1",
		"xz":     "Compression xz",
		"zstd":   "compression-level 19",
		"zstd:3": "compression-level 3",
	} {
		c, err := ParseCompression(Squashfs, flag)
		if err != nil {
			t.Fatal(err)
		}
		if got := unsquashfs(t, "-s", build(t, Options{Source: dir, Compression: c}).Path); !strings.Contains(got, want) {
			t.Errorf("%s: %q is missing in\n%s", flag, want, got)
		}
	}
}

func TestBadCompressions(t *testing.T) {
	for flag, want := range map[string]string{
		"lzma":    "zstd, gzip and xz are known",
		"zstd:23": "levels 1 to 22",
		"gzip:x":  "is no number",
		"xz:9":    "has no levels",
		"lz4":     "unknown compression",
	} {
		if _, err := ParseCompression(Squashfs, flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", flag, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	good := store(t)
	stranger := store(t)
	write(t, filepath.Join(stranger, ".links", "x"), "", 0o644)
	write(t, filepath.Join(stranger, "bin"), "", 0o644)
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"strangers":     {Options{Source: stranger}, `is no store: ".links", "bin"`},
		"no folder":     {Options{Source: filepath.Join(good, nix.Registration)}, "is no folder"},
		"missing":       {Options{Source: filepath.Join(good, "nowhere")}, "no such file"},
		"empty":         {Options{Source: t.TempDir()}, "is empty"},
		"output inside": {Options{Source: good, Output: filepath.Join(good, "image")}, "inside the folder"},
		"a device":      {Options{Source: good, Output: "/dev/null"}, "no regular file"},
		"no output dir": {Options{Source: good, Output: "/nowhere/image"}, "/nowhere"},
	} {
		o := test.options
		if o.Output == "" {
			o.Output = filepath.Join(t.TempDir(), "image")
		}
		_, err := Build(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestMountInTreeIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a proc file system")
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "etc", "passwd"), "x", 0o644)
	proc := filepath.Join(root, "proc")
	if err := os.Mkdir(proc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("proc", proc, "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(proc, syscall.MNT_DETACH) })
	_, err := Build(context.Background(), Options{Source: root, WholeRoot: true, Output: filepath.Join(t.TempDir(), "i")})
	if err == nil || !strings.Contains(err.Error(), proc+" is a mounted proc") {
		t.Errorf("got %v", err)
	}
}

func TestFailureLeavesTheOldImage(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "image")
	write(t, output, "old", 0o644)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Build(ctx, Options{Source: store(t), Output: output}); err == nil {
		t.Error("a cancelled build succeeds")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "tomorrow")
	if _, err := Build(context.Background(), Options{Source: store(t), Output: output}); err == nil {
		t.Error("a build with a bad SOURCE_DATE_EPOCH succeeds")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || string(old) != "old" {
		t.Errorf("folder holds %v, image %q", entries, old)
	}
}

func TestMissingMksquashfsNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Build(context.Background(), Options{Source: store(t), Output: filepath.Join(t.TempDir(), "image")})
	if err == nil || !strings.Contains(err.Error(), "squashfs-tools") {
		t.Errorf("got %v", err)
	}
}

// TestUnreadableFile packs as an ordinary user, whom mode 0 stops.
func TestUnreadableFile(t *testing.T) {
	const variable = "IMAGE_TEST_SOURCE"
	if source := os.Getenv(variable); source != "" {
		_, err := Build(context.Background(), Options{Source: source, Output: filepath.Join(filepath.Dir(source), "out", "image")})
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "image-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	secret := filepath.Join(dir, "store", hashA+"-hello", "secret")
	write(t, secret, "x", 0)
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "out")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestUnreadableFile$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), variable+"="+filepath.Join(dir, "store"))
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("read "+secret+": permission denied")) {
		t.Errorf("got %s", out)
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add([]byte(strings.Repeat("aB", 32) + "  file\n"))
	f.Add([]byte("\\" + strings.Repeat("0", 64)))
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		digest, err := ParseDigest(text)
		if err == nil && (len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "") {
			t.Errorf("%q gives %q", text, digest)
		}
	})
}
