package nix

import (
	"strings"
	"testing"
)

const (
	libc   = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-libc"
	shell  = "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-shell"
	empty  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	nix32e = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
)

func TestRegistration(t *testing.T) {
	// As nix-store --dump-db prints it, and as closureInfo writes it.
	text := shell + "\n" + empty + "\n120\n/nix/store/x.drv\n2\n" + shell + "\n" + libc + "\n" + libc + "\n" + nix32e + "\n7\n\n0\n"
	paths, err := ParseRegistration(strings.NewReader(text))
	if err != nil || len(paths) != 2 || paths[0].NarSize != 120 || len(paths[0].References) != 2 || paths[1].NarHash != nix32e {
		t.Fatalf("%+v, %v", paths, err)
	}
	if err := CheckClosed(paths); err != nil {
		t.Error(err)
	}
	if err := CheckClosed(paths[:1]); err == nil || !strings.Contains(err.Error(), "libc, which is missing") {
		t.Errorf("an open closure: %v", err)
	}
	var out strings.Builder
	want := libc + "\n" + nix32e + "\n7\n\n0\n" + shell + "\n" + empty + "\n120\n\n2\n" + libc + "\n" + shell + "\n"
	if err := WriteRegistration(&out, paths); err != nil || out.String() != want {
		t.Errorf("%v, got:\n%s", err, out.String())
	}
	for _, bad := range []string{
		shell, shell + "\n" + empty + "\nx\n\n0\n", shell + "\n" + empty + "\n1\n\n1\n", "x\n" + empty + "\n1\n\n0\n",
		shell + "\nabc\n1\n\n0\n", "shell\n" + empty + "\n1\n\n0\n",
	} {
		if paths, err := ParseRegistration(strings.NewReader(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, paths)
		}
	}
}

func FuzzParseRegistration(f *testing.F) {
	f.Add(shell + "\n" + empty + "\n120\n\n1\n" + shell + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		paths, err := ParseRegistration(strings.NewReader(text))
		if err != nil {
			return
		}
		var out strings.Builder
		if err := WriteRegistration(&out, paths); err != nil {
			t.Fatal(err)
		}
		if again, err := ParseRegistration(strings.NewReader(out.String())); err != nil || len(again) != len(paths) {
			t.Errorf("%q is read back as %+v, %v", out.String(), again, err)
		}
	})
}
