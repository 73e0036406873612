package uki

import (
	"bytes"
	"context"
	"debug/pe"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parts are files to make an image of. The stub is a kernel as good as any: a
// UEFI program.
func parts(t *testing.T) Options {
	t.Helper()
	stub, err := findStub(pe.IMAGE_FILE_MACHINE_AMD64)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	o := Options{Kernel: stub, Cmdline: "console=ttyS0 rootfs=http://h/x", Uname: "6.12.1", Output: filepath.Join(dir, "boot.efi")}
	for _, content := range []string{"first", "the second"} {
		file := filepath.Join(dir, content)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Initrds = append(o.Initrds, file)
	}
	return o
}

func TestBuild(t *testing.T) {
	o := parts(t)
	made, err := Build(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.Open(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kernel, err := os.ReadFile(o.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		".osrel":   "ID=netstage\nNAME=netstage\nPRETTY_NAME=\"netstage, Linux 6.12.1\"\n",
		".cmdline": "console=ttyS0 rootfs=http://h/x\x00",
		".uname":   "6.12.1",
		".initrd":  "first\x00\x00\x00the second",
		".linux":   string(kernel),
	} {
		s := f.Section(name)
		if s == nil {
			t.Errorf("no section %s among %v", name, made.Sections)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, int64(s.VirtualSize)))
		if err != nil || string(got) != want {
			t.Errorf("%s: %.60q, %v; want %.60q", name, got, err, want)
		}
	}
	// Memory: pages of their own, in order, within the image.
	o64 := f.OptionalHeader.(*pe.OptionalHeader64)
	end := uint32(0)
	for _, s := range f.Sections {
		if s.VirtualAddress < end {
			t.Errorf("%s at %#x begins before %#x", s.Name, s.VirtualAddress, end)
		}
		end = s.VirtualAddress + s.VirtualSize
	}
	if o64.SizeOfImage < end {
		t.Errorf("an image of %#x bytes holds sections until %#x", o64.SizeOfImage, end)
	}
	if names := made.Sections; names[len(names)-1] != ".linux" {
		t.Errorf("sections %v: .linux is not the last", names)
	}
}

// What can't be made is told of, all at once, and leaves nothing behind.
func TestRefused(t *testing.T) {
	good := parts(t)
	if _, err := Build(context.Background(), good); err != nil {
		t.Fatal(err)
	}
	built := good.Output
	for name, test := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"nothing given":     {func(o *Options) { *o = Options{Key: "k", Output: o.Output} }, []string{"no kernel", "no initrd", "both a key and its certificate"}},
		"long command line": {func(o *Options) { o.Cmdline = strings.Repeat("x", 2048) }, []string{"2048 bytes; kernels keep 2047"}},
		"control character": {func(o *Options) { o.Cmdline = "a\nb" }, []string{"control characters"}},
		"no kernel":         {func(o *Options) { o.Kernel = o.Initrds[0] }, []string{"no UEFI program"}},
		"stub with kernel":  {func(o *Options) { o.Stub = built }, []string{"holds a kernel already"}},
		"initrd is missing": {func(o *Options) { o.Initrds = []string{"/nowhere/initrd"} }, []string{"/nowhere/initrd"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			o.Output = filepath.Join(t.TempDir(), "boot.efi")
			test.change(&o)
			_, err := Build(context.Background(), o)
			if err == nil {
				t.Fatal("built")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q says nothing of %q", err, want)
				}
			}
			left, err := os.ReadDir(filepath.Dir(o.Output))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestReleaseOfABzImage(t *testing.T) {
	image := make([]byte, 0x400)
	copy(image[0x202:], "HdrS")
	image[0x20e] = 0x80
	copy(image[0x280:], "6.12.1-arch (builder) #1\x00")
	if got := bzImageRelease(bytes.NewReader(image)); got != "6.12.1-arch" {
		t.Errorf("release %q", got)
	}
	for name, change := range map[string]func([]byte) []byte{
		"no magic":   func(b []byte) []byte { b[0x202] = 'x'; return b },
		"cut":        func(b []byte) []byte { return b[:0x282] },
		"no text":    func(b []byte) []byte { b[0x280] = 7; return b },
		"far beyond": func(b []byte) []byte { b[0x20f] = 0xff; return b },
	} {
		if got := bzImageRelease(bytes.NewReader(change(bytes.Clone(image)))); got != "" {
			t.Errorf("%s: release %q", name, got)
		}
	}
}

// Whatever a file holds, it is a stub that sections can be added to, or an
// error.
func FuzzStub(f *testing.F) {
	if file, err := findStub(pe.IMAGE_FILE_MACHINE_AMD64); err == nil {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:0x3000])
		f.Add(b)
	}
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readStub(b, 2)
		if err != nil {
			return
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		size, err := s.write(out, []section{text(".cmdline", "a"), text(".linux", "b")})
		if err != nil {
			return
		}
		p, err := pe.NewFile(out)
		if err != nil {
			t.Fatalf("what was written is no PE file: %v", err)
		}
		if got := len(p.Sections); got != s.sections+2 {
			t.Errorf("%d sections, want %d", got, s.sections+2)
		}
		if diff := cmp.Diff("b", string(mustRead(t, p.Sections[s.sections+1])[:1])); diff != "" || size <= 0 {
			t.Error(diff)
		}
	})
}

func mustRead(t *testing.T, s *pe.Section) []byte {
	t.Helper()
	b, err := s.Data()
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %d bytes, %v", s.Name, len(b), err)
	}
	return b
}
