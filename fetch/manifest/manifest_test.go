package manifest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"

	"netstage/stage1/fault"
)

func example() *Manifest {
	return &Manifest{
		Name: "web", Created: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Init: "/nix/store/abc-nixos-system-web/init",
		Images: []Image{{Path: "web.squashfs", Size: 1 << 30, SHA256: bytes.Repeat([]byte{0xab}, 32), RootHash: bytes.Repeat([]byte{1}, 32)},
			{Path: "http://h/extra.squashfs", Size: 7, SHA256: bytes.Repeat([]byte{2}, 32)}},
	}
}

func marshal(t *testing.T, m *Manifest) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(t *testing.T, name string) (Key, minisign.PrivateKey) {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return k, private
}

func mustRefuse(t *testing.T, err error, class, says string) {
	t.Helper()
	if err == nil || fault.ClassOf(err) != fault.Class(class) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want class %s and %q", err, class, says)
	}
}

func TestRoundTrip(t *testing.T) {
	got, err := Parse(marshal(t, example()))
	if err != nil {
		t.Fatal(err)
	}
	want := example()
	want.Version = Version1
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(marshal(t, example()))
	for _, c := range []struct{ from, to, says string }{
		{`"init": "/`, `"init": "`, "no absolute path"},
		{strings.Repeat("ab", 32), "abab", "no hex digest"},
		{strings.Repeat("ab", 32), "", "no sha256"},
		{`"size": 7`, `"size": 0`, "has size 0"},
		{`"size": 7`, `"size": 7e99`, "size"},
		{`"http://h/extra.squashfs"`, `"web.squashfs"`, "named twice"},
		{`"web.squashfs"`, `""`, "no path"},
		{`"images"`, `"pictures"`, "no image"},
		{"}\n", "} {}", "after top-level value"},
		{"{", "[", ""},
	} {
		_, err := Parse([]byte(strings.Replace(good, c.from, c.to, 1)))
		if c.from == "}\n" {
			_, err = Parse([]byte(strings.TrimSpace(good) + " {}"))
		}
		mustRefuse(t, err, "manifest", c.says)
	}
	_, err := Parse(bytes.Repeat([]byte(" "), Most+1))
	mustRefuse(t, err, "manifest", "at most")
}

func TestVerify(t *testing.T) {
	key, private := newKey(t, "ops.pub")
	other, _ := newKey(t, "other.pub")
	body := marshal(t, example())
	sig, err := Sign(private, body, "created 2026-11-22")
	if err != nil {
		t.Fatal(err)
	}
	m, by, err := Keys{other, key}.Verify(body, sig, 1)
	if err != nil || by[0].Name != "ops.pub" || m.Name != "web" {
		t.Fatalf("%+v, %s, %v", m, by.Names(), err)
	}
	_, _, err = Keys{other}.Verify(body, sig, 1)
	mustRefuse(t, err, "signature", "unknown key "+key.ID()+", trusted are other.pub")
	_, _, err = Keys{}.Verify(body, sig, 1)
	mustRefuse(t, err, "signature", "no key is trusted")
	_, _, err = Keys{key}.Verify(bytes.Replace(body, []byte("web"), []byte("wob"), 1), sig, 1)
	mustRefuse(t, err, "signature", "changed after signing")
	_, _, err = Keys{key}.Verify(body, bytes.Replace(sig, []byte("created"), []byte("crEated"), 1), 1)
	mustRefuse(t, err, "signature", "changed after signing")
	for _, bad := range [][]byte{nil, []byte("x"), sig[:len(sig)/2]} {
		_, _, err = Keys{key}.Verify(body, bad, 1)
		mustRefuse(t, err, "signature", "malformed")
	}

	// Replayed with another init=.
	if err := m.AllowInit(m.Init); err != nil {
		t.Error(err)
	}
	mustRefuse(t, m.AllowInit("/bin/sh"), "policy", "init=/bin/sh is not the one")
}

func TestLoadKeys(t *testing.T) {
	_, private := newKey(t, "x")
	public := private.Public().(minisign.PublicKey)
	dir := fstest.MapFS{
		"trusted.d/a.pub":  {Data: []byte("untrusted comment: minisign public key\n" + public.String() + "\n")},
		"trusted.d/b.pub":  {Data: []byte(public.String() + "\n")},
		"trusted.d/README": {Data: []byte("keys")},
	}
	keys, err := LoadKeys(dir, "trusted.d")
	if err != nil || len(keys) != 2 || keys[0].ID() != keys[1].ID() {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, err := LoadKeys(dir, "missing.d"); err != nil || keys != nil {
		t.Errorf("%v, %v", keys, err)
	}
	dir["trusted.d/c.pub"] = &fstest.MapFile{Data: []byte("broken")}
	if _, err := LoadKeys(dir, "trusted.d"); err == nil || !strings.Contains(err.Error(), "c.pub") {
		t.Errorf("a broken key is passed over: %v", err)
	}
}

// TestMinisign signs and verifies both ways with Debian's minisign.
func TestMinisign(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("needs minisign (apt-get install minisign)")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) (string, error) {
		cmd := exec.Command(tool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	body := marshal(t, example())
	write("m.json", body)

	if out, err := run("-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"); err != nil {
		t.Fatal(out)
	}
	keys, err := LoadKeys(os.DirFS(dir), ".")
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	for _, legacy := range []bool{false, true} {
		args := []string{"-S", "-s", "theirs.key", "-m", "m.json", "-t", "by the tool"}
		if legacy {
			args = append(args, "-l")
		}
		if out, err := run(args...); err != nil {
			t.Fatal(out)
		}
		sig, err := os.ReadFile(path("m.json" + Suffix))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := keys.Verify(body, sig, 1); err != nil {
			t.Errorf("legacy %v: theirs: %v", legacy, err)
		}
	}

	key, private := newKey(t, "ours.pub")
	sig, err := Sign(private, body, "by us")
	if err != nil {
		t.Fatal(err)
	}
	write("m.json"+Suffix, sig)
	public, err := key.public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	write("ours.pub", append(public, '\n'))
	if out, err := run("-V", "-p", "ours.pub", "-m", "m.json"); err != nil || !strings.Contains(out, "Trusted comment: by us") {
		t.Errorf("ours: %v\n%s", err, out)
	}
	write("m.json", append(body, ' '))
	if _, err := run("-V", "-p", "ours.pub", "-m", "m.json"); err == nil {
		t.Error("minisign accepts a changed manifest")
	}
}

func FuzzParse(f *testing.F) {
	b, err := example().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"init":"/x","images":[{"path":"a","size":1,"sha256":"00"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		out, err := m.Marshal()
		if err != nil {
			return // a date beyond what JSON can write
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%s\nwritten out as\n%s\n%v", b, out, err)
		}
		if d := cmp.Diff(m.Images, again.Images); d != "" || m.Init != again.Init {
			t.Error(d)
		}
	})
}

func FuzzVerify(f *testing.F) {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	body, err := example().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	sig, err := Sign(private, body, "c")
	if err != nil {
		f.Fatal(err)
	}
	keys := Keys{{"k", public}}
	f.Add(body, sig)
	f.Fuzz(func(t *testing.T, b, s []byte) {
		if _, _, err := keys.Verify(b, s, 1); err == nil && !bytes.Equal(b, body) {
			t.Errorf("%q accepted with %q", b, s)
		}
	})
}
