package modindex

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"pci:v00008086d00001533sv*sd*bc*sc*i*", "pci:v00008086d00001533sv00001043sd000085F0bc02sc00i00", true},
		{"pci:v00008086d00001533sv*sd*bc*sc*i*", "pci:v00008086d00001534sv00001043sd000085F0bc02sc00i00", false},
		{"usb:v0D96p5200d000[1-9]dc*", "usb:v0D96p5200d0007dc00", true},
		{"usb:v0D96p5200d000[1-9]dc*", "usb:v0D96p5200d0000dc00", false},
		{"x[!ab]", "xc", true},
		{"x[!ab]", "xa", false},
		{"x[]a]", "x]", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"crypto-crc32c", "crypto_crc32c", true},
		{"a[", "a[", true},
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"of:N*T*Cfoo,bar-bazC*", "of:NethernetT(null)Cfoo,bar-bazCqux", true},
	} {
		if got := Match(c.pattern, c.s); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("pci:v*d[0-9]sv*", "pci:v1d2sv3")
	f.Add("a[!]-]\\*?[", "a-*b[")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		_ = Match(pattern, s) // ends, whatever they are
		if !Match("*", s) {
			t.Fatal("* does not match")
		}
		if !strings.ContainsAny(pattern, `*?[\`) && Match(pattern, s) != (strings.ReplaceAll(pattern, "-", "_") == strings.ReplaceAll(s, "-", "_")) {
			t.Fatal("a literal pattern is an equality")
		}
	})
}

// FuzzAliases holds the buckets against a linear search.
func FuzzAliases(f *testing.F) {
	f.Add("alias pci:v00008086d* a\nalias acpi*:PNP0C0A:* b\nalias net-pf-10 ipv6\nalias dmi*: x y", "acpi:PNP0C0A:")
	f.Add("alias [ab]c d\n#\nalias\nalias x\n alias *:ab* e", "ac")
	f.Fuzz(func(t *testing.T, text, query string) {
		table := newAliasTable(text)
		if diff := cmp.Diff(linear(table, query), table.lookup(query)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDep(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko.xz\nkernel/b.ko.xz:\n", "kernel/a.ko: b\n")
	f.Fuzz(func(t *testing.T, dep, soft string) {
		ix := newIndex("/m", dep, func(string) string { return soft })
		for _, n := range ix.Names() {
			if _, err := ix.Resolve(n); err != nil {
				t.Fatalf("%q of the index is not found: %v", n, err)
			}
		}
	})
}

func FuzzSoftdep(f *testing.F) {
	f.Add("cifs gcm pre: a-b c post: d")
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseSoftdep(s)
		if !ok {
			return
		}
		again, ok := ParseSoftdep(strings.TrimPrefix(formatSoftdep(d), "softdep "))
		if diff := cmp.Diff(d, again); !ok || diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("options e1000 debug=3\\\n x=1\nblacklist a-b\ninstall c /bin/true\nalias d* e\nsoftdep f pre: g\n# x\n")
	f.Fuzz(func(t *testing.T, s string) {
		var first, second Config
		_ = first.Read(strings.NewReader(s))
		var one, two strings.Builder
		_, _ = first.WriteTo(&one)
		_ = second.Read(strings.NewReader(one.String()))
		_, _ = second.WriteTo(&two)
		if one.String() != two.String() {
			t.Fatalf("not stable:\n%q\n%q", one.String(), two.String())
		}
	})
}

// The kernel command line makes no lines of a file.
func TestWriteToIsOneLineEach(t *testing.T) {
	c := &Config{}
	if c.KernelParam("x.y", "1\ninstall configfs /bin/sh -c id", true) || c.KernelParam("x.y\ninstall a b", "", false) {
		t.Error("a line break is taken for part of a parameter")
	}
	c.KernelParam("x.y", "1", true)
	var text strings.Builder
	if c.WriteTo(&text); text.String() != "options x y=1\n" {
		t.Errorf("wrote %q", &text)
	}
}

func FuzzModInfo(f *testing.F) {
	f.Add([]byte("name=a\x00depends=b,c-d\x00softdep=pre: x\x00vermagic=6.1 SMP \x00alias=y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range ParseModInfo(b).Depends {
			if d == "" {
				t.Fatal("an empty dependency")
			}
		}
		builtinAliases(string(b))
	})
}
