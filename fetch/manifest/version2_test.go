package manifest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"
)

// second is a manifest of version 2 with all that it can have.
func second() *Manifest {
	m := example()
	m.Type, m.Version, m.Serial, m.Critical = Type, Version2, 7, []string{"not_after", "cmdline"}
	m.NotBefore, m.NotAfter, m.Cmdline = m.Created, m.Created.AddDate(0, 1, 0), []string{"systemd.unit=rescue.target"}
	return m
}

func TestVersion2(t *testing.T) {
	good := marshal(t, second())
	got, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(second(), got); d != "" {
		t.Error(d)
	}
	for _, c := range []struct{ from, to, says string }{
		{`"not_after",`, `"not_after", "sealed_to",`, `field "sealed_to" is critical, and not known`},
		{Type, listKind, `of type "netstage-keys", not a manifest`},
		{`"type": "netstage-manifest",`, ``, "version 2 without a type"},
		{`"version": 2`, `"version": 3`, "version 3 of the format"},
		{`"version": 2`, `"version": -1`, "version -1 of the format"},
		{`"serial": 7`, `"serial": 0`, "serial 0"},
		{`"serial": 7`, `"serial": 9007199254740993`, "serial 9007199254740993"},
		{`"serial": 7`, `"serial": -7`, "serial"},
		{`"name": "web"`, `"name": ""`, `the name ""`},
		{`"not_after": "2026-12`, `"not_after": "2026-10`, "ends (not_after) before it begins"},
	} {
		_, err := Parse(bytes.Replace(good, []byte(c.from), []byte(c.to), 1))
		mustRefuse(t, err, "manifest", c.says)
	}
	// What is not critical is left alone, as before.
	if _, err := Parse(bytes.Replace(good, []byte(`"serial"`), []byte(`"colour": "blue", "serial"`), 1)); err != nil {
		t.Error(err)
	}
}

// Different keys have to sign, as many as are wanted: one key twice is one, and
// what unknown ones add is passed over.
func TestThreshold(t *testing.T) {
	body := marshal(t, second())
	a, secretA := newKey(t, "a.pub")
	b, secretB := newKey(t, "b.pub")
	_, secretC := newKey(t, "c.pub")
	sign := func(secrets ...minisign.PrivateKey) []byte {
		var all []byte
		for _, secret := range secrets {
			one, err := Sign(secret, body, "test")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, one...)
		}
		return all
	}
	again := a
	again.Name = "again.pub"
	keys := Keys{a, again, b}
	for _, c := range []struct {
		name       string
		signatures []byte
		threshold  int
		want, says string
	}{
		{"one of one", sign(secretA), 1, "a.pub", ""},
		{"none asked for", sign(secretB), 0, "b.pub", ""},
		{"two of two", sign(secretB, secretA), 2, "b.pub a.pub", ""},
		{"a third beside", sign(secretC, secretB, secretA), 2, "b.pub a.pub", ""},
		{"one of two", sign(secretA), 2, "", "signed by a.pub, and 2 keys have to sign"},
		{"one twice", sign(secretA, secretA), 2, "", "signed by a.pub, and 2 keys have to sign"},
		{"a stranger beside", sign(secretA, secretC), 2, "", "signed by a.pub, and 2 keys have to sign"},
		{"one of another text", append(sign(secretA), bytes.Replace(sign(secretB), []byte(": test"), []byte(": test "), 1)...), 2, "", "changed after signing"},
		{"cut off", sign(secretA, secretB)[:len(sign(secretA, secretB))-40], 2, "", "malformed"},
		{"more than are looked at", sign(append(slices.Repeat([]minisign.PrivateKey{secretC}, mostSignatures), secretA)...), 1, "", "unknown key"},
	} {
		signers, err := keys.Signers(body, c.signatures, c.threshold)
		if c.says != "" {
			mustRefuse(t, err, "signature", c.says)
		} else if got := strings.Join(signers.Names(), " "); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestKeyList(t *testing.T) {
	a, _ := newKey(t, "a.pub")
	b, _ := newKey(t, "b.pub")
	l := NewKeyList(Keys{a, b}, 2, 3, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	good, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, keys, err := ParseKeyList(good)
	if err != nil || got.Threshold != 2 || got.Serial != 3 || len(keys) != 2 || !keys[1].Equal(b) || keys[1].Name != "b.pub" {
		t.Errorf("%+v, %v, %v", got, keys, err)
	}
	for _, c := range []struct{ from, to, says string }{
		{listKind, Type, "not a key list"},
		{`"version": 1`, `"version": 2`, "version 2"},
		{`"serial": 3`, `"serial": 0`, "serial is 0"},
		{`"threshold": 2`, `"threshold": 3`, "3 of 2 keys"},
		{`"threshold": 2`, `"threshold": 0`, "0 of 2 keys"},
		{b.public.String(), a.public.String(), "named twice"},
		{b.public.String(), "RWQ", `key "b.pub" is none`},
		{`"serial"`, `"critical": ["revoked"], "serial"`, `field "revoked" is critical`},
		{"{", "[", "key list"},
	} {
		_, _, err := ParseKeyList(bytes.Replace(good, []byte(c.from), []byte(c.to), 1))
		mustRefuse(t, err, "manifest", c.says)
	}
	// The one is never taken for the other.
	_, err = Parse(good)
	mustRefuse(t, err, "manifest", "not a manifest")
	_, _, err = ParseKeyList(marshal(t, second()))
	mustRefuse(t, err, "manifest", "not a key list")
}

func FuzzParseKeyList(f *testing.F) {
	f.Add([]byte(`{"type":"netstage-keys","version":1,"serial":1,"created":"2026-11-22T10:00:00Z","threshold":1,"keys":[{"name":"a","key":"RWQ"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, keys, err := ParseKeyList(b)
		if err != nil {
			return
		}
		if l.Threshold < 1 || len(keys) < l.Threshold {
			t.Errorf("%s: %d of %d keys", b, l.Threshold, len(keys))
		}
	})
}

// What it costs a boot to verify a manifest that two of three keys signed.
func BenchmarkVerify(b *testing.B) {
	m := second()
	body, err := m.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	var keys Keys
	var signatures []byte
	for range 3 {
		public, private, err := minisign.GenerateKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		one, err := Sign(private, body, "bench")
		if err != nil {
			b.Fatal(err)
		}
		keys, signatures = append(keys, Key{public: public}), append(signatures, one...)
	}
	for b.Loop() {
		if _, _, err := keys.Verify(body, signatures, 2); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(body)+len(signatures)), "bytes")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
}
