package pid1

import (
	"os"
	"strings"
	"testing"
)

func TestStat(t *testing.T) {
	// Fields 5 to 51, with the pending signals at 31.
	rest := func(pending string) string {
		return " 1 1 0 -1 4194316 1 2 3 4 5 6 7 8 20 0 1 0 100 0 0 18446744073709551615 0 0 0 0 0 " + pending + strings.Repeat(" 0", 20) + " "
	}
	for text, want := range map[string]stat{
		"17 (boot) Z 1" + rest("0") + "512\n":     {'Z', 1, true, 2 << 8},
		"17 (a) Z 9 (b)) S 4" + rest("1") + "0\n": {'S', 4, false, 0},
		"17 (boot) D 1" + rest("256") + "9\n":     {'D', 1, true, 9},
		"17 (boot) D 1" + rest("0") + "0\n":       {'D', 1, false, 0},
		"17 (boot) R 1":                           {'R', 1, false, 0}, // an old kernel's would be longer
		"17 (boot) Z one" + rest("0") + "512\n":   {},
		"17 (boot) Z 1" + rest("0") + "much\n":    {'Z', 1, true, 0},
		"17 (boot)":                               {},
		"":                                        {},
	} {
		got, ok := parseStat([]byte(text))
		if got != want || ok != (want.state != 0) {
			t.Errorf("%q: %+v %t", text, got, ok)
		}
	}
	own, ok := statOf(os.Getpid())
	if !ok || own.parent != os.Getppid() || own.state == 'Z' {
		t.Errorf("own: %+v %t", own, ok)
	}
	if _, ended := over(os.Getpid()); ended {
		t.Error("this process has not ended")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("17 (a) Z 9 (b)) S 4 1 2"))
	f.Fuzz(func(t *testing.T, text []byte) { parseStat(text) })
}
