package applets

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(t *testing.T, table map[string]Func, stdin, line string) (string, string, int) {
	t.Helper()
	args := strings.Fields(line)
	var out, err bytes.Buffer
	status := table[args[0]](t.Context(), args, strings.NewReader(stdin), &out, &err)
	return out.String(), err.String(), status
}

// TestFingers: the forms that operators type without thinking.
func TestFingers(t *testing.T) {
	table := Table(Options{})
	for _, test := range []struct{ stdin, line, want string }{
		{"a\nb\nc\nd\n", "head -3", "a\nb\nc\n"},
		{"a\nb\nc\nd\n", "tail -2", "c\nd\n"},
		{"a\nb\nc\nd\n", "tail -n +3", "c\nd\n"},
		{"a\nb\n", "less", "a\nb\n"}, // no terminal: as cat
		{"abc", "sha256sum", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n"},
		{"", "which cat ls nothing", "which"},
		{"", "date +%%%Y", "%20"},
	} {
		out, errs, status := run(t, table, test.stdin, test.line)
		switch test.line {
		case "which cat ls nothing":
			if status != 1 || strings.Count(out, "\n") != 2 || strings.Contains(out, "nothing") {
				t.Errorf("%s: %d %q %q", test.line, status, out, errs)
			}
		case "date +%%%Y":
			if status != 0 || !strings.HasPrefix(out, test.want) {
				t.Errorf("%s: %d %q %q", test.line, status, out, errs)
			}
		default:
			if status != 0 || out != test.want {
				t.Errorf("%s: %d %q %q, want %q", test.line, status, out, errs, test.want)
			}
		}
	}
	for line, want := range map[string]string{
		"head -x":      "unknown option",
		"head -3x":     `"3x" is no number`,
		"date +%Q":     "unknown format %Q",
		"date -s noon": `"noon" is no time`,
		"ls -3":        "unknown option",
	} {
		if _, errs, status := run(t, table, "", line); status != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %q, want %q", line, status, errs, want)
		}
	}
}

func TestLsmod(t *testing.T) {
	modules := filepath.Join(t.TempDir(), "modules")
	table := map[string]Func{"lsmod": command{run: lsmodFunc(modules)}.fn()}
	if _, errs, status := run(t, table, "", "lsmod"); status != 1 || errs == "" {
		t.Errorf("without /proc: %d %q", status, errs)
	}
	if err := os.WriteFile(modules, []byte("virtio_net 61440 0 - Live 0x0\nfailover 16384 2 net_failover,x, Live 0x0\ncut\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := "Module                      Size  Used by\nvirtio_net                 61440  0\nfailover                   16384  2 net_failover,x\n"
	if out, errs, status := run(t, table, "", "lsmod"); status != 0 || out != want {
		t.Errorf("%d %q\n%s", status, errs, out)
	}
}

func TestLspci(t *testing.T) {
	sys := t.TempDir()
	device := filepath.Join(sys, "bus/pci/devices/0000:00:03.0")
	for name, text := range map[string]string{"class": "0x020000\n", "vendor": "0x8086\n", "device": "0x1533\n", "net/eth0/mtu": "1500\n"} {
		file := filepath.Join(device, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../../../bus/pci/drivers/igb", filepath.Join(device, "driver")); err != nil {
		t.Fatal(err)
	}
	table := map[string]Func{"lspci": command{usage: "lspci", run: lspciFunc(sys)}.fn()}
	if out, _, status := run(t, table, "", "lspci"); status != 0 || out != "0000:00:03.0 0200: 8086:1533 igb eth0\n" {
		t.Errorf("%d %q", status, out)
	}
}

// TestPages goes through a text by keys.
func TestPages(t *testing.T) {
	lines := foldLines("1\n2\n3\n4\n55555555555\n6\n", 10)
	if got := strings.Join(lines, "|"); got != "1|2|3|4|5555555555|5|6" {
		t.Fatal(got)
	}
	for keys, want := range map[string]string{
		"q": "1-3 of 7", " q": "4-6 of 7", "  q": "5-7 of 7", "jq": "2-4 of 7", "jkq": "1-3 of 7", "Gq": "5-7 of 7", "Gbq": "2-4 of 7", "Ggq": "1-3 of 7",
		"": "1-3 of 7", "\x03": "1-3 of 7",
	} {
		var screen bytes.Buffer
		if err := page(lines, 3, strings.NewReader(keys), &screen); err != nil {
			t.Fatal(err)
		}
		at := strings.LastIndex(screen.String(), " of 7")
		if got := screen.String()[:at+5]; !strings.HasSuffix(got, want) {
			t.Errorf("%q: %q, want %q", keys, got[max(0, len(got)-12):], want)
		}
	}
}
