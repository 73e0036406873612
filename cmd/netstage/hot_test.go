package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseRate(t *testing.T) {
	for word, want := range map[string]int64{"5M": 5_000_000, "500k": 500_000, "1G": 1_000_000_000, "12345": 12345, "": 0, "M": 0, "-1": 0, "5x": 0, "99999999999999999999": 0, "9G1": 0} {
		if n, err := parseRate(word); n != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", word, n, err)
		}
	}
}

func TestHotListsAreMerged(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b := write("a", "netstage-hot 1\n131072 65536\n0 4096\n"), write("b", "netstage-hot 1\n0 65536\n655360 65536\n")
	out := filepath.Join(dir, "merged")
	command := newHot(streams{})
	command.SetArgs([]string{a, b, "-o", out})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if want := "netstage-hot 1\n131072 65536\n0 65536\n655360 65536\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	report := write("report.json", `{"version":1,"state":"complete","stream":{"first_reads":[{"offset":65536,"length":65536},{"offset":0,"length":1}]}}`)
	good := write("good.json", `{"version":1,"state":"good"}`)
	command = newHot(streams{})
	command.SetArgs([]string{good, report, b, "-o", out})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	got, err = os.ReadFile(out)
	if want := "netstage-hot 1\n65536 65536\n0 65536\n655360 65536\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	command = newHot(streams{})
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs([]string{good})
	if err := command.Execute(); err == nil {
		t.Error("a report without a list makes one")
	}
	command = newHot(streams{})
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs([]string{write("c", "<html>")})
	if err := command.Execute(); err == nil {
		t.Error("a web page is merged")
	}
}
