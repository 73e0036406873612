package nix

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"netstage/stage1/fault"
)

const (
	busybox = "nix/store/0123456789abcdfghijklmnpqrsvwxyz-busybox/bin/sh"
	system  = "nix/store/1123456789abcdfghijklmnpqrsvwxyz-nixos-system-demo-1"
)

// tree writes files below a new directory. A value that starts with "->" is
// a link; a name that ends in "*" is executable.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		mode := fs.FileMode(0o444)
		if strings.HasSuffix(name, "*") {
			name, mode = strings.TrimSuffix(name, "*"), 0o555
		}
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// program is the running test: a real ELF file of this machine.
func program(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestInspect(t *testing.T) {
	elf := program(t)
	interp := func(more map[string]string) map[string]string {
		// The test program may be linked dynamically; give it its loader.
		files := map[string]string{busybox + "*": elf, "lib64/ld-linux-x86-64.so.2*": elf}
		if linked, err := loader(strings.NewReader(elf)); err != nil {
			t.Fatal(err)
		} else if linked != "" {
			return nil
		}
		for k, v := range more {
			files[k] = v
		}
		return files
	}
	if interp(nil) == nil {
		t.Fatal("run the tests with CGO_ENABLED=0: the test program must be static")
	}
	hash := "#!/" + busybox + "\n"
	for name, test := range map[string]struct {
		files map[string]string
		init  string
		want  System
		err   string
	}{
		"classic": {
			files: interp(map[string]string{system + "/init*": hash, system + "/nixos-version": "25.05"}),
			init:  "/" + system + "/init",
			want:  System{Kind: Classic, Init: "/" + system + "/init", Toplevel: "/" + system},
		},
		"classic by a profile": {
			files: interp(map[string]string{
				system + "/init*": hash, system + "/nixos-version": "25.05",
				"nix/var/nix/profiles/system": "->system-1-link", "nix/var/nix/profiles/system-1-link": "->/" + system,
			}),
			init: "/nix/var/nix/profiles/system/init",
			want: System{Kind: Classic, Init: "/" + system + "/init", Toplevel: "/" + system},
		},
		"prepare-root": {
			files: interp(map[string]string{system + "/init*": elf, system + "/prepare-root*": hash, system + "/nixos-version": "26.05"}),
			init:  "/" + system + "/init",
			want:  System{Kind: PrepareRoot, Init: "/" + system + "/init", Toplevel: "/" + system, Prepare: "/" + system + "/prepare-root"},
		},
		"prepare-root, init being a link to systemd": {
			files: interp(map[string]string{"nix/store/systemd*": elf, system + "/init": "->/nix/store/systemd", system + "/prepare-root*": hash, system + "/nixos-version": "26.05"}),
			init:  "/" + system + "/init",
			want:  System{Kind: PrepareRoot, Init: "/nix/store/systemd", Toplevel: "/" + system, Prepare: "/" + system + "/prepare-root"},
		},
		"nixos-init": {
			files: interp(map[string]string{system + "/init*": elf, system + "/nixos-version": "26.05"}),
			init:  "/" + system + "/init", err: "nothing would activate the system",
		},
		"nixos-init that tells what to do": {
			files: interp(map[string]string{system + "/init*": elf, system + "/nixos-version": "26.05", system + "/boot.json": `{"org.nixos.nixos-init.v1":{"etc_basedir":"/b","etc_metadata_image":"/m"}}`}),
			init:  "/" + system + "/init",
			want:  System{Kind: NixosInit, Init: "/" + system + "/init", Toplevel: "/" + system, Spec: Bootspec{NixosInit: true, EtcBasedir: "/b", EtcImage: "/m"}},
		},
		"a boot.json that is broken": {
			files: interp(map[string]string{system + "/init*": hash, system + "/nixos-version": "26.05", system + "/boot.json": "{"}),
			init:  "/" + system + "/init", err: "boot.json",
		},
		"plain": {
			files: interp(map[string]string{"sbin/init": "->../lib/systemd", "lib/systemd*": elf}),
			init:  "/sbin/init",
			want:  System{Kind: Plain, Init: "/lib/systemd"},
		},
		"missing":            {files: interp(nil), init: "/sbin/init", err: "no such file"},
		"not executable":     {files: interp(map[string]string{"init": hash}), init: "/init", err: "not executable"},
		"a directory":        {files: interp(map[string]string{"init/x": ""}), init: "/init", err: "no regular file"},
		"no interpreter":     {files: interp(map[string]string{"init*": "#!/bin/sh\n"}), init: "/init", err: "needs /bin/sh"},
		"neither":            {files: interp(map[string]string{"init*": "hello"}), init: "/init", err: "neither a script nor"},
		"empty":              {files: interp(map[string]string{"init*": ""}), init: "/init", err: "neither a script nor"},
		"cut short":          {files: interp(map[string]string{"init*": elf[:40]}), init: "/init", err: "/init: "},
		"of another machine": {files: interp(map[string]string{"init*": elf[:18] + "\x16\x00" + elf[20:]}), init: "/init", err: "another machine"},
		"a loop":             {files: interp(map[string]string{"init": "->init"}), init: "/init", err: "too many levels"},
		"out of the root":    {files: interp(map[string]string{"init": "->../../../../bin/sh"}), init: "/init", err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Inspect(tree(t, test.files), test.init)
			if test.err != "" {
				if fault.ClassOf(err) != fault.NoInit || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), test.init) {
					t.Fatalf("error %v, want one of class no-init that names %s and says %q", err, test.init, test.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	root := tree(t, map[string]string{"a/b/file": "", "a/up": "->../c", "c/d": "->/a/b", "abs": "->/a"})
	for name, want := range map[string]string{
		"/a/b/file": "/a/b/file", "a//b/./file": "/a/b/file", "/a/up/d/file": "/a/b/file",
		"/abs/b/../../../../a": "/a", "/": "/", "/abs/up": "/c",
	} {
		if got, err := Resolve(root, name); got != want || err != nil {
			t.Errorf("Resolve(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := Resolve(root, "/a/none/x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/a/none") {
		t.Errorf("missing part: %v", err)
	}
	if _, err := Resolve(root, "/a/b/file/x"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("file as directory: %v", err)
	}
}

func TestLayoutOf(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  Layout
	}{
		"registration":       {map[string]string{Registration: "", "x": ""}, StoreImage},
		"bare store paths":   {map[string]string{"0123456789abcdfghijklmnpqrsvwxyz-hello/x": ""}, StoreImage},
		"root with a store":  {map[string]string{"nix/store/x": "", "etc/passwd": ""}, WholeRoot},
		"root of another OS": {map[string]string{"sbin/init": ""}, WholeRoot},
		"neither":            {map[string]string{"readme": "", "eeee56789abcdfghijklmnpqrsvwxyz01-hello": ""}, ""},
	} {
		got, err := LayoutOf(tree(t, test.files), "/sbin/init")
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "readme") {
			t.Errorf("%s: %v does not say what the image holds", name, err)
		}
	}
}

// A dynamic program of this host names the loader that the kernel would take.
func TestLoader(t *testing.T) {
	shell, err := os.Open("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	name, err := loader(shell)
	if err != nil || !strings.Contains(name, "/ld-") {
		t.Errorf("/bin/sh: %q, %v", name, err)
	}
}

// The digests are those that `nix-hash --flat --type sha256` and
// `nix hash to-sri` print for the empty file.
func TestParseSHA256(t *testing.T) {
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, s := range []string{
		want, strings.ToUpper(want), "sha256:" + want,
		"0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73", "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	} {
		if got, err := ParseSHA256(s); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("ParseSHA256(%q) = %x, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "abc", strings.Repeat("g", 64), strings.Repeat("e", 52), strings.Repeat("z", 52), "sha256-AAAA", "sha512-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="} {
		if got, err := ParseSHA256(s); err == nil || !strings.Contains(err.Error(), "SHA-256") {
			t.Errorf("ParseSHA256(%q) = %x, %v", s, got, err)
		}
	}
}

func FuzzParseSHA256(f *testing.F) {
	f.Add("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	f.Add("0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73")
	f.Fuzz(func(t *testing.T, s string) {
		if digest, err := ParseSHA256(s); err == nil && len(digest) != 32 {
			t.Errorf("%q: %d bytes", s, len(digest))
		}
	})
}

func FuzzProve(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("#! \t\n"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add(append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"), bytes.Repeat([]byte{0xff}, 200)...))
	f.Add(append([]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00"), bytes.Repeat([]byte{3, 0, 0, 0}, 50)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "init"), text, 0o755); err != nil {
			t.Fatal(err)
		}
		proveExecutable(root, "/init") // any answer, no panic
	})
}
