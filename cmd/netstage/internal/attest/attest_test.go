package attest

import (
	"bytes"
	"strings"
	"testing"

	"netstage/stage1/report"
	"netstage/stage1/tpm"
	"netstage/stage1/tpm/swtpm"
)

// quoteOf has a TPM sign what it has measured.
func quoteOf(t *testing.T, machine *tpm.TPM, nonce []byte) report.Quote {
	t.Helper()
	q, err := swtpm.Quote(machine, nonce)
	if err != nil {
		t.Fatal(err)
	}
	return *q
}

// A quote is of its nonce, its values and its key; whatever is changed in it is
// noticed.
func TestVerify(t *testing.T) {
	machine, _ := swtpm.Start(t, t.TempDir())
	nonce := []byte("0123456789abcdef")
	good := quoteOf(t, machine, nonce)
	q, err := Verify(good)
	if err != nil || !bytes.Equal(q.Nonce, nonce) || len(q.PCRs) != 15 || len(q.Key) != 64 {
		t.Fatalf("%+v, %v", q, err)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	for name, change := range map[string]func(*report.Quote){
		"a nonce":            func(q *report.Quote) { q.Nonce = flip(q.Nonce, 0) },
		"a value":            func(q *report.Quote) { q.PCRs[3].SHA256 = q.PCRs[3].SHA256[:62] + "ff" },
		"two values swapped": func(q *report.Quote) { q.PCRs[3], q.PCRs[4] = q.PCRs[4], q.PCRs[3] },
		"a value left out":   func(q *report.Quote) { q.PCRs = q.PCRs[1:] },
		"a value twice":      func(q *report.Quote) { q.PCRs = append(q.PCRs[:1:1], q.PCRs...) },
		"a PCR not signed": func(q *report.Quote) {
			q.PCRs = append(q.PCRs[:15:15], report.PCR{Index: 23, SHA256: q.PCRs[1].SHA256})
		},
		"what was signed":    func(q *report.Quote) { q.Attest = flip(q.Attest, -1) },
		"the signature":      func(q *report.Quote) { q.Signature = flip(q.Signature, -1) },
		"the key":            func(q *report.Quote) { q.Key = flip(q.Key, -1) },
		"what the key may":   func(q *report.Quote) { q.Key = flip(q.Key, 5) }, // restricted
		"no key":             func(q *report.Quote) { q.Key = nil },
		"a longer statement": func(q *report.Quote) { q.Attest = append(bytes.Clone(q.Attest), 0) },
	} {
		bad := good
		bad.PCRs = append([]report.PCR(nil), good.PCRs...)
		change(&bad)
		if _, err := Verify(bad); err == nil {
			t.Errorf("%s was changed, and nobody noticed", name)
		}
	}
}

func TestCompare(t *testing.T) {
	value := func(c string) string { return string(bytes.Repeat([]byte(c), 64)) }
	q := Quote{PCRs: map[int]string{8: value("a"), 11: value("b")}}
	of := func(pcrs ...report.PCR) Expected { return Expected{Version: 1, PCRs: pcrs} }
	for name, c := range map[string]struct {
		all  []Expected
		want string
	}{
		"nothing expected": {nil, ""},
		"as expected":      {[]Expected{of(report.PCR{Index: 8, SHA256: value("A")})}, ""},
		"one of two":       {[]Expected{of(report.PCR{Index: 8, SHA256: value("c")}), of(report.PCR{Index: 11, SHA256: value("b")})}, ""},
		"another":          {[]Expected{of(report.PCR{Index: 8, SHA256: value("c")})}, "PCR 8 is aaaaaaaaaaaa…, expected cccccccccccc…"},
		"not quoted":       {[]Expected{of(report.PCR{Index: 9, SHA256: value("c")})}, "PCR 9 is …, expected cccccccccccc…"},
	} {
		if got := Compare(q, c.all, true); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	early := Expected{Version: 1, PCRs: []report.PCR{{Index: 8, SHA256: value("c")}, {Index: 11, SHA256: value("b")}}, Earlier: []report.PCR{{Index: 8, SHA256: value("A")}}}
	for through, want := range map[bool]string{true: "PCR 8 is aaaaaaaaaaaa…, expected cccccccccccc…", false: ""} {
		if got := Compare(q, []Expected{early}, through); got != want {
			t.Errorf("what PCR 8 is early, through %v: %q, want %q", through, got, want)
		}
	}
	early.PCRs[1].SHA256 = value("d")
	if got := Compare(q, []Expected{early}, false); !strings.Contains(got, "PCR 11") || strings.Contains(got, "PCR 8") {
		t.Errorf("another PCR 11 of a boot that is not through: %q", got)
	}
	text, err := Encode(q.PCRs, map[int]string{8: value("d")})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ParseExpected(text); err != nil || len(e.PCRs) != 2 || e.PCRs[0].Index != 8 || len(e.Earlier) != 1 {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range []string{"", "{}", `{"version":1}`, `{"version":2,"pcrs":[{"index":8,"sha256":""}]}`, `{"version":1,"pcrs":[{"index":8,"sha256":"a"}]}`,
		`{"version":1,"pcrs":[{"index":8,"sha256":"` + value("a") + `"}],"earlier":[{"index":8,"sha256":"a"}]}`} {
		if _, err := ParseExpected([]byte(bad)); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("key"), []byte("attest"), []byte("signature"))
	f.Fuzz(func(t *testing.T, key, attest, signature []byte) {
		if _, err := Verify(report.Quote{Key: key, Attest: attest, Signature: signature}); err == nil {
			t.Error("a quote that nobody signed")
		}
		parseKey(key)
		parseAttest(attest)
	})
}
