package image

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/fetch/verity"
	"netstage/nix"
)

func buildErofs(t *testing.T, o Options) Report {
	t.Helper()
	if o.Format = Erofs; o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "nix-store.erofs")
	}
	return build(t, o)
}

// extracted is a folder with what is in an erofs.
func extracted(t *testing.T, path string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "extracted")
	if out, err := exec.Command("fsck.erofs", "--extract="+dir, "--preserve", path).CombinedOutput(); err != nil {
		t.Fatalf("fsck.erofs: %v\n%s", err, out)
	}
	return dir
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("find", ".", "-printf", "%M %U/%G %T@ %p %l\\n")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func TestErofsOfAStore(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: extracts files of root")
	}
	report := buildErofs(t, Options{Source: store(t)})
	got := listing(t, extracted(t, report.Path))
	const old = " 0/0 1.0000000000 ./"
	for _, want := range []string{
		"drwxr-xr-x" + old + hashA + "-hello ",
		"-r-xr-xr-x" + old + hashA + "-hello/bin/hello ",
		"-r--r--r--" + old + hashA + "-hello/.hidden ",
		"lrwxrwxrwx" + old + hashA + "-hello/conf ../../" + hashB + "-file.conf",
		"-r--r--r--" + old + hashB + "-file.conf\n",
		"-rw-r--r--" + old + nix.Registration + " ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if root, err := ReadRootHash(report.Path); err != nil || len(root) != 64 {
		t.Errorf("root hash %q, %v", root, err)
	}
}

// A closure is gathered from wherever its paths lie; links between its files
// and the sealed folders of a real store change nothing.
func TestErofsOfAClosure(t *testing.T) {
	dir := store(t)
	if err := os.Remove(filepath.Join(dir, nix.Registration)); err != nil {
		t.Fatal(err)
	}
	paths := []string{filepath.Join(dir, hashA+"-hello"), filepath.Join(dir, hashB+"-file.conf")}
	pack := func() Report {
		return buildErofs(t, Options{Closure: &Closure{Paths: paths, Registration: []byte("registration")}})
	}
	first := pack()
	if err := os.Link(paths[1], filepath.Join(t.TempDir(), "link")); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(paths[0], "bin", "again")
	if err := os.Link(filepath.Join(paths[0], "bin", "hello"), linked); err != nil {
		t.Fatal(err)
	}
	second := pack()
	if err := os.Remove(linked); err != nil {
		t.Fatal(err)
	}
	write(t, linked, "#!/bin/sh\n", 0o555)
	sealed := filepath.Join(paths[0], "bin")
	if err := os.Chmod(sealed, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(sealed, 0o755) })
	third := pack()
	if err := os.Chmod(sealed, 0o755); err != nil {
		t.Fatal(err)
	}
	fourth := pack()
	if first.Entries != 3 || first.SHA256 == second.SHA256 {
		t.Errorf("%d entries; one more file gives the same image: %v", first.Entries, first.SHA256 == second.SHA256)
	}
	if second.SHA256 != fourth.SHA256 {
		t.Error("links between files change the image")
	}
	if third.SHA256 == fourth.SHA256 {
		t.Error("the mode of a folder is lost")
	}
	entries, err := os.ReadDir(filepath.Dir(third.Path))
	if err != nil || len(entries) != 4 {
		t.Errorf("left beside the image: %v, %v", entries, err)
	}
}

func TestErofsSameTreeSameBytes(t *testing.T) {
	first := buildErofs(t, Options{Source: store(t)})
	again := store(t)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(again, hashB+"-file.conf"), past, past); err != nil {
		t.Fatal(err)
	}
	second := buildErofs(t, Options{Source: again})
	if first.SHA256 != second.SHA256 || !bytes.Equal(first.RootHash, second.RootHash) {
		t.Error("a copy of the tree elsewhere gives another image or tree")
	}
	if other := buildErofs(t, Options{Source: again, Series: "other"}); bytes.Equal(first.RootHash, other.RootHash) {
		t.Error("another series has the same tree")
	}
}

// An owner, a mode and the time of each file are a whole root's own, and the
// clock of the host is not in it.
func TestErofsOfAWholeRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: gives a file to another user")
	}
	root := filepath.Join(t.TempDir(), "root")
	file := filepath.Join(root, "home", "user", "file")
	write(t, file, "x", 0o600)
	if err := os.Chown(file, 1000, 100); err != nil {
		t.Fatal(err)
	}
	past := time.Unix(1700000000, 0)
	for _, path := range []string{file, filepath.Dir(file), filepath.Dir(filepath.Dir(file)), root} {
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	}
	report := buildErofs(t, Options{Source: root, WholeRoot: true})
	if got, want := listing(t, extracted(t, report.Path)), "-rw------- 1000/100 1700000000.0000000000 ./home/user/file"; !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	if again := buildErofs(t, Options{Source: root, WholeRoot: true}); again.SHA256 != report.SHA256 {
		t.Error("packed again, it is another image")
	}
}

// What an erofs is for: of an image where one of many files has changed and
// grown, nearly all blocks are those of the image before.
func TestErofsKeepsBlocks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	dir := filepath.Join(t.TempDir(), "store")
	name := func(i int) string {
		return filepath.Join(dir, strings.Repeat(string("0123456789abcdfghijk"[i]), 32)+"-part", "file")
	}
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefgh"[random.IntN(8)]
		}
		return string(b)
	}
	for i := range 20 {
		write(t, name(i), text(200_000+i*1000), 0o644)
	}
	before := leaves(t, buildErofs(t, Options{Source: dir}).Path)
	if err := os.WriteFile(name(3), []byte(text(290_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	after := leaves(t, buildErofs(t, Options{Source: dir}).Path)
	fresh := 0
	for leaf := range after {
		if !before[leaf] {
			fresh++
		}
	}
	if fresh == 0 || fresh*100 > len(after)*15 { // 290 kB of 4 MB, and inodes
		t.Errorf("%d of %d blocks are not in the image before", fresh, len(after))
	}
	t.Logf("%d of %d blocks are new", fresh, len(after))
}

// leaves are the hashes of an image's blocks by the tree beside it.
func leaves(t *testing.T, path string) map[string]bool {
	t.Helper()
	tree, err := os.ReadFile(path + ".verity")
	if err != nil {
		t.Fatal(err)
	}
	super, err := verity.ParseSuperblock(tree)
	if err != nil {
		t.Fatal(err)
	}
	first := len(tree) - int((super.DataBlocks*32+4095)/4096*4096)
	set := map[string]bool{}
	for i := range int(super.DataBlocks) {
		set[string(tree[first+i*32:][:32])] = true
	}
	return set
}

func TestErofsCompressions(t *testing.T) {
	sizes := map[string]int64{}
	for _, flag := range []string{"", "lz4hc:3", "lz4", "none"} {
		c, err := ParseCompression(Erofs, flag)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "store")
		write(t, filepath.Join(dir, hashA+"-text"), strings.Repeat("much the same ", 100_000), 0o444)
		sizes[flag] = buildErofs(t, Options{Source: dir, Compression: c}).Size
	}
	if sizes["none"] < 1_400_000 || sizes[""] > 100_000 || sizes["lz4"] > 100_000 || sizes["lz4hc:3"] > 100_000 {
		t.Errorf("sizes %v", sizes)
	}
	for flag, want := range map[string]string{
		"gzip":     "lz4hc, lz4, zstd and none are known for erofs",
		"lz4hc:13": "levels 1 to 12",
		"none:1":   "has no levels",
	} {
		if _, err := ParseCompression(Erofs, flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", flag, err, want)
		}
	}
	if f, err := ParseFormat("ext4"); err == nil {
		t.Errorf("ext4 is the format %q", f)
	}
}

func TestMissingMkfsErofsNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Build(context.Background(), Options{Source: store(t), Format: Erofs, Output: filepath.Join(t.TempDir(), "image")})
	if err == nil || !strings.Contains(err.Error(), "erofs-utils") {
		t.Errorf("got %v", err)
	}
}
