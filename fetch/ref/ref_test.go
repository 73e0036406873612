package ref

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/fault"
)

// resolve parses a reference and resolves it.
func resolve(ref string, base Base) (string, error) {
	l, err := Parse(ref)
	if err != nil {
		return "", err
	}
	l, err = l.Resolve(base)
	return l.Raw, err
}

func mustURL(t *testing.T, s string) Location {
	t.Helper()
	l, err := ParseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestResolve(t *testing.T) {
	boot := Base{BootFile: "http://10.0.2.2:8080/site/a/boot.ipxe?mac=1", NextServer: "10.0.2.9"}
	for _, c := range []struct {
		ref  string
		base Base
		want string
	}{
		{"http://h/x.squashfs", boot, "http://h/x.squashfs"},
		{"HTTPS://h/x?a=b=c", Base{}, "HTTPS://h/x?a=b=c"},
		{"x.squashfs", boot, "http://10.0.2.2:8080/site/a/x.squashfs"},
		{"x.squashfs", Base{Rootfs: mustURL(t, "https://cdn/images"), BootFile: boot.BootFile}, "https://cdn/images/x.squashfs"},
		{"x.squashfs", Base{Rootfs: mustURL(t, "https://cdn/images/")}, "https://cdn/images/x.squashfs"},
		{"v1/x.squashfs?t=1", Base{Rootfs: mustURL(t, "https://u:p@cdn")}, "https://u:p@cdn/v1/x.squashfs?t=1"},
		{"../x", boot, "http://10.0.2.2:8080/site/x"},
		{"nixos:26.11.img", boot, "http://10.0.2.2:8080/site/a/nixos:26.11.img"},
		{"a%20b", boot, "http://10.0.2.2:8080/site/a/a%20b"},
		{"x", Base{BootFile: "pxelinux.0", NextServer: "10.0.2.9"}, "http://10.0.2.9/x"},
		{"x", Base{BootFile: "tftp://10.0.2.2/dir/boot.ipxe", NextServer: "10.0.2.9"}, "tftp://10.0.2.2/dir/x"},
		{"x", Base{BootFile: "dir/boot.ipxe", NextServer: "10.0.2.9"}, "http://10.0.2.9/x"},
		{"x", Base{BootFile: "http://h", NextServer: "10.0.2.9"}, "http://h/x"},
		{"x", Base{NextServer: "fe80::1%eth0"}, "http://[fe80::1%25eth0]/x"},
		{"x", Base{NextServer: "fd00::1"}, "http://[fd00::1]/x"},
		{"x", Base{Rootfs: mustURL(t, "http://[fe80::1%eth0]:8080/d")}, "http://[fe80::1%25eth0]:8080/d/x"},
	} {
		got, err := resolve(c.ref, c.base)
		if err != nil || got != c.want {
			t.Errorf("resolve(%q, %+v) = %q, %v; want %q", c.ref, c.base, got, err, c.want)
		}
	}
	for _, c := range []struct {
		ref  string
		base Base
		says string
	}{
		{"x", Base{}, "no rootfs.base=, DHCP named no boot file by URL (\"\") and no next-server"},
		{"x", Base{BootFile: "pxelinux.0"}, `"pxelinux.0"`},
		{"", boot, "empty"},
		{"a b", boot, "spaces"},
		{"ftp://h/x", boot, "only http, https and tftp"},
		{"http:///x", boot, "no host"},
		{"http://u:geheim@[::1/x", boot, "not a URL"},
	} {
		got, err := resolve(c.ref, c.base)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("resolve(%q, %+v) = %q, %v; want an error that says %q", c.ref, c.base, got, err, c.says)
		}
		if err == nil || strings.Contains(err.Error(), "geheim") || fault.ClassOf(err) != fault.BadURL {
			t.Errorf("%q: %v", c.ref, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		ref  string
		want Location
	}{
		{"/nix-store.squashfs", Location{Kind: File, Path: "/nix-store.squashfs"}},
		{"LABEL=my disk:/my images/a.squashfs", Location{Kind: Device, Tag: "LABEL", Value: "my disk", Path: "/my images/a.squashfs"}},
		{`PARTLABEL="Basic data":/a`, Location{Kind: Device, Tag: "PARTLABEL", Value: `"Basic data"`, Path: "/a"}},
		{"LABEL=my\tdisk", Location{}},
		{"LABEL=nixos:/images/a.squashfs", Location{Kind: Device, Tag: "LABEL", Value: "nixos", Path: "/images/a.squashfs"}},
		{"PARTUUID=ab-cd", Location{Kind: Device, Tag: "PARTUUID", Value: "ab-cd"}},
		{"/dev/disk/by-path/pci-0000:00:1f.2-ata-1:/x", Location{Kind: Device, Tag: "DEV", Value: "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", Path: "/x"}},
		{"/dev/vda", Location{Kind: Device, Tag: "DEV", Value: "/dev/vda"}},
		{"UUID=:/x", Location{}},
		{"UUID=a:/", Location{}},
		{"/dev/", Location{}},
		{"label=x", Location{Kind: Relative}},
		{"dir/x?u=http://h/", Location{Kind: Relative}},
		{"http://h/x", Location{Kind: URL}},
	} {
		got, err := Parse(c.ref)
		if (err != nil) != (c.want == Location{}) {
			t.Errorf("Parse(%q): %v", c.ref, err)
		}
		if c.want.Raw = c.ref; err == nil && !cmp.Equal(got, c.want) {
			t.Errorf("Parse(%q) = %+v, want %+v", c.ref, got, c.want)
		}
	}
}

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/x":                   "http://h/x",
		"https://u:p@h:8/x?sig=1#frag": "https://h:8/x?…",
		"http://u@p@h/x":               "http://h/x",
		"http://tok@h":                 "http://h",
		"http://u:p@h?x@y":             "http://h?…",
		"name?tok=1":                   "name?…",
		"http://deploy:geheim/42@h/x":  "http://h/x",
		"http://deploy:ge?heim@h/x":    "http://h/x",
		"http://deploy:ge#heim@h/x":    "http://h/x",
		"http://deploy:ge heim@h/x?y":  "http://h/x?…",
		"http://a:b@c@h:port/x":        "http://h:port/x",
		"deploy:geheim@proxy:3128":     "proxy:3128",
		"http://h/a@b":                 "http://h/a@b",
		"http://u:p@[fe80::1%eth0]/x":  "http://[fe80::1%eth0]/x",
		"img@v1.squashfs":              "img@v1.squashfs",
	} {
		if got := Redacted(in); got != want {
			t.Errorf("Redacted(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWithSuffix(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/x.img":     "http://h/x.img.verity",
		"http://h/x.img?t=1": "http://h/x.img.verity?t=1",
		"http://h/a%2fb#c":   "http://h/a%2fb.verity",
		"http://h:80":        "http://h:80/.verity",
		"x.img":              "x.img.verity",
		"x.img?t=1":          "x.img.verity?t=1",
		"/x?.img":            "/x?.img.verity",
		"LABEL=a:/x?y":       "LABEL=a:/x?y.verity",
	} {
		l, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		got := l.WithSuffix(".verity")
		if got.Raw != want {
			t.Errorf("%q with the suffix is %q, want %q", in, got.Raw, want)
		}
		if again, err := Parse(got.Raw); err != nil || again.String() != got.String() || got.Kind == URL && got.URL().String() != got.Raw {
			t.Errorf("%q: %v, %v", got.Raw, got.URL(), err)
		}
	}
}

func TestBeside(t *testing.T) {
	for _, test := range []struct{ file, ref, want string }{
		{"http://h/a/m?x", "i", "http://h/a/i"},
		{"https://u:p@h/a/m", "b/i", "https://u:p@h/a/b/i"},
		{"https://h/m", "http://g/i", "http://g/i"},
		{"https://h/m", "/i", "/i"},
		{"/etc/m", "i", "/etc/i"},
		{"/etc/m", "http://g/i", "http://g/i"},
		{"/etc/m", "LABEL=x:/y", ""},
		{"m", "i", ""},
	} {
		file, err := Parse(test.file)
		l, lerr := Parse(test.ref)
		if err != nil || lerr != nil {
			t.Fatal(err, lerr)
		}
		got, err := l.Beside(file)
		if got.Raw != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s in %s is %s, %v", test.ref, test.file, got.Raw, err)
		}
	}
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{"x", "http://u:secretpw@h/x?y", "LABEL=a:/b", "/dev/vda:/x", "../../x", "a:b", "%zz", "//h/x", "?", "http://[fe80::1%25eth0]/"} {
		f.Add(s, "http://b/dir", "boot.ipxe", "10.0.0.1")
		f.Add(s, "", "http://u:secretpw@h/a/b?c", "fe80::1%eth0")
	}
	f.Add("0", "", "", "::%\xd8")
	f.Fuzz(func(t *testing.T, ref, rootfs, boot, next string) {
		r, err := Parse(ref)
		_ = r.String()
		_ = r.WithSuffix(".verity").String()
		base, _ := ParseURL(rootfs)
		u, rerr := resolve(ref, Base{base, boot, next})
		if err != nil && rerr == nil {
			t.Errorf("%q does not parse and resolves to %q", ref, u)
		}
		if rerr == nil && r.Remote() && r.Kind != OCI {
			p, err := parseURL(u)
			if err != nil {
				t.Fatalf("%q resolves to %q, which is not fetched: %v", ref, u, err)
			}
			if p.User != nil {
				if pw, _ := p.User.Password(); len(pw) > 7 && strings.Contains(Redacted(u), "secretpw") {
					t.Errorf("%q printed as %q", u, Redacted(u))
				}
			}
		}
	})
}

func TestZone(t *testing.T) {
	for in, want := range map[string]string{
		"http://[fe80::1%eth0]/x":      "fe80::1%eth0",
		"http://[fe80::1%25eth0]/x":    "fe80::1%eth0",
		"http://u@[fe80::1%2]:80/x%20": "fe80::1%2",
		"http://[fe80::1%25]/x":        "fe80::1%25",
		"http://[fd00::1]/x%20[a%eth]": "",
	} {
		l, err := ParseURL(in)
		if (err == nil) != (want != "") || err == nil && l.URL().Hostname() != want {
			t.Errorf("%s: %v, %v", in, l.URL(), err)
		}
	}
}
