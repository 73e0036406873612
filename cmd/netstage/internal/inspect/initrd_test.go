package inspect

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"
)

// archive is one in newc format, of names and texts in turn.
func archive(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	for i := 0; i < len(names); i += 2 {
		if err := w.WriteRecord(cpio.StaticFile(names[i], names[i+1], 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, kind string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "cpio":
		return plain
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "gzip":
		w = gzip.NewWriter(&b)
	case "xz":
		w, err = xz.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, text []byte) (*Initrd, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return ReadInitrd(file)
}

// TestArchives reads what the kernel reads: archives of every compression one
// after the other, with zeros between.
func TestArchives(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 40000)
	for _, first := range []string{"cpio", "zstd", "gzip", "xz"} {
		for _, second := range []string{"cpio", "zstd", "gzip", "xz"} {
			t.Run(first+"+"+second, func(t *testing.T) {
				text := compress(t, first, archive(t, "etc/one", "old", "etc/kept", "kept", "large", large))
				text = append(text, make([]byte, -len(text)&3+8)...)
				text = append(text, compress(t, second, archive(t, "etc/one", "new", "lib/modules/6.1/a/b-c.ko", "x", "lib/modules/6.1/d.ko.xz", "x", "lib/firmware/f", "f"))...)
				i, err := read(t, text)
				if err != nil {
					t.Fatal(err)
				}
				if want := []string{first, second}; !slices.Equal(i.Archives, want) {
					t.Errorf("archives %v, want %v", i.Archives, want)
				}
				one, _ := i.Text("/etc/one")
				kept, _ := i.Text("/etc/kept")
				if string(one) != "new" || string(kept) != "kept" {
					t.Errorf("texts %q and %q, want those of the last archive that has them", one, kept)
				}
				if want := []string{"b_c", "d"}; !slices.Equal(i.Modules, want) || !slices.Equal(i.Kernels, []string{"6.1"}) || i.Firmware != 1 {
					t.Errorf("modules %v of %v, %d of firmware", i.Modules, i.Kernels, i.Firmware)
				}
				if i.Agent.Stage1 || i.Agent.What != "there is none" {
					t.Errorf("agent %+v, want none", i.Agent)
				}
			})
		}
	}
}

// TestCutShort is about files that are damaged: each cut is told of, and none
// crashes.
func TestCutShort(t *testing.T) {
	for _, kind := range []string{"cpio", "zstd", "gzip", "xz"} {
		whole := compress(t, kind, archive(t, "etc/one", "one", "two", strings.Repeat("two", 1000)))
		for _, n := range []int{len(whole) - 1, len(whole) * 3 / 4, len(whole) / 2, 30} {
			if kind == "cpio" && n == len(whole)-1 {
				n = len(whole) - 100 // zeros may lack
			}
			if _, err := read(t, whole[:n]); err == nil {
				t.Errorf("%s of %d bytes, cut at %d, is read without an error", kind, len(whole), n)
			}
		}
	}
}

func TestUnreadable(t *testing.T) {
	for text, want := range map[string]string{
		"\x02\x21\x4c\x18xxxxxxxx":          "unpack it first, by lz4cat",
		"no initrd":                         "neither an archive nor a compression",
		"":                                  "cut short",
		"070701" + strings.Repeat("z", 104): "wrong number",
	} {
		if _, err := read(t, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestScriptAgent(t *testing.T) {
	i, err := read(t, archive(t, "init", "#!/bin/sh\nexec x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if i.Agent.Stage1 || !strings.Contains(i.Agent.What, "script") {
		t.Errorf("agent %+v, want a script", i.Agent)
	}
}

// TestAgent finds the version in the binary that build.sh makes.
func TestAgent(t *testing.T) {
	out := filepath.Join(t.TempDir(), "stage1")
	if text, err := exec.Command("../../../stage1/build.sh", out, "v1.2-3-gabc-dirty").CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, text)
	}
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	i, err := read(t, archive(t, "init", string(binary)))
	if err != nil {
		t.Fatal(err)
	}
	a := i.Agent
	if !a.Stage1 || a.Version != "v1.2-3-gabc-dirty" || !strings.HasPrefix(a.Go, "go1") || a.Arch == "" {
		t.Errorf("agent %+v", a)
	}
}

func TestImageInside(t *testing.T) {
	i, err := read(t, archive(t, "nix-store.squashfs", "hsqs the image"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "[{/nix-store.squashfs squashfs 14 "
	if got := fmt.Sprint(i.Images); !strings.HasPrefix(got, want) || len(i.Images[0].SHA256) != 64 {
		t.Errorf("images %s", got)
	}
}

// FuzzInitrd reads anything.
func FuzzInitrd(f *testing.F) {
	for _, kind := range []string{"cpio", "zstd", "gzip", "xz"} {
		f.Add(compress(f, kind, archive(f, "etc/one", "one", "init", "#!/bin/sh\n")))
	}
	f.Add(append(archive(f, "a", "b"), 0, 0, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, 0, 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		unpacked := int64(0)
		packed, n, err := eachEntry(bytes.NewReader(text), int64(len(text)), func(e entry, data io.Reader) error {
			got, err := io.Copy(io.Discard, data)
			if got > e.size {
				t.Errorf("%d bytes of an entry of %d", got, e.size)
			}
			unpacked += got
			return err
		})
		if err == nil && (len(packed) == 0 || unpacked > n) {
			t.Errorf("%d archives with %d bytes, of them %d in files", len(packed), n, unpacked)
		}
	})
}
