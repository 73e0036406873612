package attest

import (
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("0b", 32)
	keys, err := ParseKeys("# machines\n\nAA:BB:CC:DD:EE:FF " + strings.ToUpper(a) + " # rack 1\n0c0ffee0-0000-4000-8000-000000000000\t000b" + b + "\n")
	if err != nil || len(keys) != 2 || keys["aa-bb-cc-dd-ee-ff"] != a || keys["0c0ffee0-0000-4000-8000-000000000000"] != b {
		t.Errorf("%v, %v", keys, err)
	}
	for bad, want := range map[string]string{
		"": "there is none", "# x": "there is none", "m": "line 1: 1 words", "m a b": "line 1: 3 words", "\nm 1234": "line 2", "m " + a + "00": "is no key",
		"m 000a" + a: "is no key", "m " + a + "\nM " + b: "a second key of m", "m " + strings.Repeat("x", 64): "is no key",
	} {
		if keys, err := ParseKeys(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", bad, keys, err, want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("aa-bb-cc-dd-ee-ff " + strings.Repeat("a1", 32))
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		for machine, key := range keys {
			if err != nil || machine == "" || len(key) != 64 {
				t.Errorf("%q %q, %v", machine, key, err)
			}
		}
	})
}
