package image

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/verity"
	"netstage/fetch/vouch"
	"netstage/stage1/cmdline"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

const sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// media are disks where every file is below a folder.
type media struct {
	dir    string
	closed bool
}

func (m *media) Path(_ context.Context, l ref.Location) (string, error) {
	if l.Value == "/dev/none" {
		return "", fault.Errorf(fault.NoDevice, "no such disk")
	}
	return m.dir + l.Path, nil
}

func (m *media) Close() error { m.closed = true; return nil }

// getter is one for a command line, in an initrd with files.
func getter(t *testing.T, line string, files map[string]string) (*Getter, *bytes.Buffer) {
	t.Helper()
	initrd := t.TempDir()
	for name, text := range files {
		path := filepath.Join(initrd, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, wrong := config.Parse(cmdline.Parse(line), nil)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	var log bytes.Buffer
	return &Getter{
		Log: logTo(&log), Config: c, Initrd: initrd, Agent: "netstage/1", Media: &media{dir: t.TempDir()},
		Network: &Network{MAC: []byte{1, 2, 3, 4, 5, 6}, Base: ref.Base{Rootfs: c.Base, NextServer: "10.0.0.1"}},
	}, &log
}

// logTo is a log of lines as an operator sees them.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(w)))
}

func rawOf(all []ref.Location) []string {
	var raw []string
	for _, l := range all {
		raw = append(raw, l.Raw)
	}
	return raw
}

// at is the location of an image.
func at(place string) []ref.Location {
	l, _ := ref.Parse(place)
	if strings.HasPrefix(place, "/") {
		l = ref.FileAt(place)
	}
	return []ref.Location{l}
}

func TestOrder(t *testing.T) {
	key := "untrusted comment: x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"
	for name, test := range map[string]struct {
		line   string
		files  map[string]string
		policy config.Policy
		class  fault.Class
		images []string
		says   string
	}{
		"mirrors":                    {line: "rootfs=http://a/x rootfs=https://b/y rootfs.sha256=" + sha, images: []string{"http://a/x", "https://b/y"}},
		"relative to what DHCP says": {line: "rootfs=x rootfs.sha256=" + sha, images: []string{"http://10.0.0.1/x"}},
		"relative to rootfs.base=":   {line: "rootfs=x rootfs.base=https://c/d rootfs.sha256=" + sha, images: []string{"https://c/d/x"}},
		"a file of the initrd":       {line: "rootfs=/x rootfs.sha256=" + sha, images: []string{"/x"}},
		"no disk":                    {line: "rootfs=/dev/none:/x", class: fault.NoDevice},
		"nothing":                    {class: fault.NoImage, says: "no rootfs= was given"},
		"nothing vouches":            {line: "rootfs=http://a/x", images: []string{"http://a/x"}, says: "nothing vouches for it"},
		"nothing vouches, and must":  {line: "rootfs=http://a/x", policy: config.Policy{RequireVouched: true}, class: fault.Policy, says: "nothing vouches"},
		"a tree without end":         {line: "rootfs=http://a/x rootfs.verity=/dev/../dev/zero roothash=" + sha, class: fault.NoImage, says: "neither a file nor a disk"},
		"a key":                      {line: "rootfs=http://a/x", files: map[string]string{"etc/netstage/trusted.d/a.pub": key}, images: []string{"http://a/x"}},
		"a key that is none":         {line: "rootfs=http://a/x", files: map[string]string{"etc/netstage/trusted.d/a.pub": "x"}, class: fault.Policy},
		"another authority than the initrd's": {line: "rootfs=https://a/x rootfs.sha256=" + sha + " rootfs.ca=/other.pem", class: fault.Policy,
			files: map[string]string{"etc/netstage/ca.pem": "x"}, says: "allows the authorities"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := getter(t, test.line, test.files)
			g.Config.Policy = test.policy
			if test.line == "rootfs=http://a/x rootfs.verity=/dev/../dev/zero roothash="+sha {
				g.Config.Verity[0] = ref.FileAt("//dev/zero")
			}
			o, err := g.Order(t.Context(), g.Config.Images(g.Initrd))
			text := log.String()
			if err != nil {
				text += err.Error()
			}
			if fault.ClassOf(err) != test.class || err == nil && !slices.Equal(rawOf(o.Images), test.images) || !strings.Contains(text, test.says) {
				t.Errorf("%v, %q\n%s", err, o.Images, text)
			}
		})
	}
}

// What something vouches for is copied before it is verified, wherever a disk
// has it and however that is written; the initrd's own files nobody changes.
func TestCopiesImage(t *testing.T) {
	other := "/proc/self/status" // on another file system than the test's folder
	for name, test := range map[string]struct {
		line  string
		image string
		want  bool
	}{
		"a server":                   {"rootfs.sha256=" + sha, "http://a/x", false},
		"the initrd":                 {"rootfs.sha256=" + sha, "here", false},
		"the initrd, copytoram":      {"copytoram", "here", false},
		"a disk, nothing vouches":    {"", other, false},
		"a disk, pinned":             {"rootfs.sha256=" + sha, other, true},
		"a disk, by another name":    {"rootfs.sha256=" + sha, "//proc/self/../self/status", true},
		"a disk, copytoram":          {"copytoram", other, true},
		"a disk, verified when read": {"rootfs.verity.mount roothash=" + sha, other, false},
		"nothing there":              {"rootfs.sha256=" + sha, "/none", false},
		"none":                       {"rootfs.sha256=" + sha, "", false},
	} {
		g, _ := getter(t, test.line, map[string]string{"here": "x"})
		images := at(test.image)
		switch test.image {
		case "here":
			images = at(filepath.Join(g.Initrd, "here"))
		case "":
			images = nil
		}
		if got := g.copies(false, images); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A whole disk is copied even where dm-verity verifies what is read, and
// recognised by what it is.
func TestWholeDisk(t *testing.T) {
	disks, _ := filepath.Glob("/dev/loop[0-9]*")
	if len(disks) == 0 {
		t.Skip("no block device here")
	}
	g, _ := getter(t, "rootfs.verity.mount roothash="+sha, nil)
	for _, name := range []string{disks[0], "/" + disks[0], "/dev/../dev/" + filepath.Base(disks[0])} {
		if g.placeOf(name) != isDisk || !g.copies(false, at(name)) {
			t.Errorf("%s is not seen as a disk", name)
		}
	}
}

func TestDescribe(t *testing.T) {
	g, _ := getter(t, "", map[string]string{"x": ""})
	for source, want := range map[string]string{g.Initrd + "/x": " of the initrd", "/proc/self/status": " in place"} {
		if got := g.describe(source, false); got != source+want {
			t.Errorf("%s: %s", source, got)
		}
	}
	if got := g.describe("/x", true); got != "/x copied into memory" {
		t.Error(got)
	}
}

// A token goes to the origin that its file names, and to no other: whatever the
// command line, DHCP or a proxy say.
func TestTokenIsBound(t *testing.T) {
	const file = "etc/netstage/token"
	bound := `{"origin": "https://images.example", "token": "geheim"}`
	plain := `[{"origin": "http://10.0.0.1", "token": "offen"}, {"origin": "https://images.example:8443", "token": "zwei"}]`
	for name, test := range map[string]struct {
		line, text, url, want string
	}{
		"its server":            {"", bound, "https://images.example/x?y", "geheim"},
		"its server, spelt out": {"", bound, "https://IMAGES.example:443/x", "geheim"},
		"by http":               {"", bound, "http://images.example/x", ""},
		"another port":          {"", bound, "https://images.example:8443/x", ""},
		"another server":        {"", bound, "https://evil.example/x", ""},
		"a name that looks so":  {"", bound, "https://images.example.evil.example/x", ""},
		"the second":            {"", plain, "https://images.example:8443/x", "zwei"},
		"by http where allowed": {"rootfs.base=http://10.0.0.2/", plain, "http://10.0.0.1/x", "offen"},
		"what DHCP made":        {"", plain, "http://10.0.0.1/x", ""},
		"a proxy's eyes":        {"rootfs.base=http://10.0.0.2/ rootfs.proxy=http://evil:3128", plain, "http://10.0.0.1/x", ""},
		"through a proxy":       {"rootfs.proxy=http://evil:3128", bound, "https://images.example/x", "geheim"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := getter(t, "rootfs.token=/"+file+" rootfs="+test.url+" rootfs.sha256="+sha+" "+test.line, map[string]string{file: test.text})
			o, err := g.Order(t.Context(), g.Config.Images(g.Initrd))
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			u.Scheme = strings.ToLower(u.Scheme)
			if got := o.Fetch.Bearer(u); got != test.want {
				t.Errorf("%q", got)
			}
			if told := strings.Contains(log.String(), "no token goes to"); told != (test.want == "") || strings.Contains(log.String(), "geheim") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// A file that is no token file, such as a password's hash, goes nowhere and is
// not quoted.
func TestNoTokenFile(t *testing.T) {
	for _, text := range []string{"", "geheim", "{", "[]", "null", `{"origin": "https://a"}`, `{"token": "geheim"}`, `{"origin": "ftp://a", "token": "geheim"}`,
		`{"origin": "https://a/b", "token": "geheim"}`, `{"origin": "https://u@a", "token": "geheim"}`, `{"origin": "https://a", "token": "ge heim"}`,
		`{"origin": "https://a", "token": "geheim", "more": 1}`, `{"origin": "https://a", "token": "geheim"} geheim`, "$6$geheim$x"} {
		g, _ := getter(t, "rootfs.token=/etc/netstage/t rootfs=https://a/x rootfs.sha256="+sha, map[string]string{"etc/netstage/t": text})
		if _, err := g.Order(t.Context(), g.Config.Images(g.Initrd)); fault.ClassOf(err) != fault.Policy || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", text, err)
		}
	}
	g, _ := getter(t, "rootfs.token=/etc/netstage/none rootfs=https://a/x rootfs.sha256="+sha, nil)
	if _, err := g.Order(t.Context(), g.Config.Images(g.Initrd)); fault.ClassOf(err) != fault.Policy {
		t.Errorf("no file: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add(`{"origin": "https://images.example", "token": "x"}`)
	f.Add(`[{"origin": "http://[::1]:80", "token": "x"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parseTokens([]byte(text))
		if err == nil && len(tokens) == 0 {
			t.Error("no token and no error")
		}
		for _, token := range tokens {
			if u, uerr := url.Parse(token.Origin); err == nil && (uerr != nil || u.Port() == "" || originOf(u) != token.Origin) {
				t.Errorf("origin %q of %q", token.Origin, text)
			}
		}
	})
}

func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	dir := t.TempDir()
	good, bad, none := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "none")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for file, text := range map[string][]byte{good: cert, bad: []byte("x")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		asked, own string
		pool       bool
		class      fault.Class
	}{
		{"", none, false, ""}, {good, none, true, ""}, {"", good, true, ""}, {good, good, true, ""},
		{bad, good, false, fault.Policy}, {bad, none, false, fault.Policy}, {none, none, false, fault.Policy}, {"", bad, false, fault.Policy},
		{"", good + "/x", false, fault.Policy},
	} {
		pool, err := Authorities(test.asked, test.own)
		if (pool != nil) != test.pool || fault.ClassOf(err) != test.class {
			t.Errorf("asked %q, own %q: %v, %v", test.asked, test.own, pool != nil, err)
		}
	}
}

// A file of the initrd is got, verified, and told of.
func TestGet(t *testing.T) {
	g, log := getter(t, "rootfs.sha256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", map[string]string{"x": "x"})
	g.Config.Rootfs = []ref.Location{ref.FileAt(filepath.Join(g.Initrd, "x"))}
	image, err := g.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if image.Report.Size != 1 || image.Init != "" || image.Tree != nil || !strings.Contains(log.String(), "x of the initrd, 0 MiB") {
		t.Errorf("%+v\n%s", image, log)
	}
	if err := image.Close(); err != nil {
		t.Error(err)
	}
	g.Config.SHA256[0]++
	if _, err := g.Get(t.Context()); fault.ClassOf(err) != fault.Mismatch {
		t.Errorf("another file: %v", err)
	}
}

// Without a network of the agent's, an operator may have made one: what is
// relative is so to rootfs.base=.
func TestNetworkByHand(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.TrimPrefix(r.URL.Path, "/dir/"))
	}))
	defer server.Close()
	for _, line := range []string{"rootfs=x", "rootfs=LABEL=x:/none rootfs=x"} {
		g, log := getter(t, line+" rootfs.base="+server.URL+"/dir rootfs.sha256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", nil)
		g.Network, g.Store = nil, func() store.Store { return store.File(filepath.Join(t.TempDir(), "image")) }
		image, err := g.Get(t.Context())
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
}

// slowMedia are disks that appear when they are told to.
type slowMedia struct {
	media
	appears chan error
}

func (m *slowMedia) Path(ctx context.Context, l ref.Location) (string, error) {
	select {
	case err := <-m.appears:
		m.appears <- err
		return m.dir + l.Path, err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// A disk and a server are mirrors of each other: whichever has the image.
func TestDiskAndServerAreMirrors(t *testing.T) {
	const pin = " rootfs.sha256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	serves := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }
	missing := http.NotFound
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	gone := fault.Errorf(fault.NoDevice, "no such disk")
	for name, test := range map[string]struct {
		server http.HandlerFunc
		disk   error // nil: it is there; errLate: it never comes, and is waited for
		source string
		class  fault.Class
	}{
		"a disk that never comes": {serves, errLate, "http", ""},
		"no disk":                 {serves, gone, "http", ""},
		"a server without it":     {missing, nil, "/", ""},
		"a server that is silent": {silent, nil, "/", ""},
		"neither":                 {missing, gone, "", "http-404"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.server)
			defer server.Close()
			g, log := getter(t, "rootfs=LABEL=x:/x rootfs="+server.URL+"/x"+pin, nil)
			disks := &slowMedia{media: media{dir: t.TempDir()}, appears: make(chan error, 1)}
			if err := os.WriteFile(disks.dir+"/x", []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if test.disk != errLate {
				disks.appears <- test.disk
			}
			g.Media, g.Network.Dial, g.Network.Base = disks, new(net.Dialer).DialContext, ref.Base{}
			g.Store = func() store.Store { return store.File(filepath.Join(t.TempDir(), "image")) }
			image, err := g.Get(t.Context())
			if fault.ClassOf(err) != test.class || err == nil && !strings.HasPrefix(image.Report.Source, test.source) {
				t.Fatalf("%+v, %v\n%s", image, err, log)
			}
			if err == nil {
				if err := image.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Where a disk may have the image, too, it is not used before it is whole: a
// line says so.
func TestDiskAndServerAreNotStreamed(t *testing.T) {
	image := bytes.Repeat([]byte("netstage"), 1024)
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(image), int64(len(image)), &tree, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := image
		if strings.HasSuffix(r.URL.Path, ".verity") {
			text = tree.Bytes()
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}))
	defer server.Close()
	g, log := getter(t, fmt.Sprintf("rootfs=LABEL=x:/x rootfs=%s/x rootfs.verity=%[1]s/x.verity rootfs.stream roothash=%x", server.URL, root), nil)
	g.Media = &slowMedia{media: media{dir: t.TempDir()}, appears: make(chan error, 1)} // it never comes
	g.Network.Dial, g.Network.Base = new(net.Dialer).DialContext, ref.Base{}
	g.Store = func() store.Store { return store.File(filepath.Join(t.TempDir(), "image")) }
	g.Stream = func(context.Context, vouch.Streamed) (*vouch.Streaming, error) {
		t.Error("it is streamed")
		return nil, errLate
	}
	got, err := g.Get(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := got.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "as if rootfs.stream were not given") {
		t.Errorf("log:\n%s", log)
	}
}

var errLate = errors.New("late")
