package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inFolder is a shell in a folder with some files.
func inFolder(t testing.TB) *shell {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"image.squashfs", "image.verity", "two words", "etc/netstage/cmdline", "etc/hosts", ".hidden", "bad\x1bname", "tool", "ünique"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if name == "tool" {
			mode = 0o755
		}
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newShell(Options{
		Dir: dir, Env: []string{"PATH=" + dir, "HOME=" + dir + "/etc"}, Applets: []string{"ls", "lsmod", "boot", "mount"},
		Words: func(command string, args []string) []string {
			if command == "boot" && len(args) == 0 {
				return []string{"retry", "report"}
			}
			if command == "boot" && slices.Equal(args, []string{"retry"}) {
				return []string{"network"}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestComplete(t *testing.T) {
	s := inFolder(t)
	for typed, want := range map[string]string{ // "|" is the cursor, what comes after "=" the choices
		"mou|":                      "mount |",
		"ls|":                       "ls|=ls lsmod",
		"lsm|":                      "lsmod |",
		"too|":                      "tool |",  // an executable of PATH; the other files are none
		"imag|":                     "image.|", // no command begins so, but a file
		"ls ima|":                   "ls image.|",
		"ls image.|":                "ls image.|=image.squashfs image.verity",
		"ls image.s|":               "ls image.squashfs |",
		"ls image.s| -l":            "ls image.squashfs | -l",
		"ls etc/net|":               "ls etc/netstage/|",
		"ls etc/|":                  "ls etc/|=etc/hosts etc/netstage/",
		"cat ~/h|":                  "cat ~/hosts |",
		"ls tw|":                    `ls two\ words |`,
		`ls two\ w|`:                `ls two\ words |`,
		"ls .h|":                    "ls .hidden |",
		"ls ü|":                     "ls ünique |",
		"ls bad|":                   "ls bad|", // its name can't be shown
		"ls nothing|":               "ls nothing|",
		"true; mou|":                "true; mount |",
		"ls | mou|":                 "ls | mount |",
		"if mou|":                   "if mount |",
		"A=1 mou|":                  "A=1 mount |",
		"echo $(mou|":               "echo $(mount |",
		"cat <ima|":                 "cat <image.|",
		"boot re|":                  "boot re|=report retry",
		"boot ret|":                 "boot retry |",
		"boot retry |":              "boot retry network |",
		"boot retry network etc/h|": "boot retry network etc/hosts |",
		"exp|":                      "export |",
		"|":                         "",
	} {
		at := strings.LastIndex(typed, "|")
		line := typed[:at] + typed[at+1:]
		c := s.complete(line, at)
		got := c.line[:c.pos] + "|" + c.line[c.pos:]
		if len(c.choices) > 0 {
			got += "=" + strings.Join(c.choices, " ")
		}
		if want == "" {
			if c.line != line || len(c.choices) < len(builtins) {
				t.Errorf("%q: %q", typed, got)
			}
		} else if got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

func FuzzComplete(f *testing.F) {
	s := inFolder(f)
	f.Add(`ls two\ w -l`, 9)
	f.Add("if true; then ima", 17)
	f.Add("\\", 1)
	f.Fuzz(func(t *testing.T, line string, pos int) {
		if pos < 0 || pos > len(line) || strings.Contains(line, "/") {
			return // not of this machine's folders
		}
		c := s.complete(line, pos)
		if c.pos < 0 || c.pos > len(c.line) || !strings.HasSuffix(c.line, line[pos:]) || !strings.HasPrefix(c.line, line[:wordStart(line[:pos])]) {
			t.Errorf("%q at %d: %q at %d", line, pos, c.line, c.pos)
		}
	})
}

func TestColumns(t *testing.T) {
	if got := columns([]string{"etc/hosts", "etc/netstage/", "etc/passwd"}, 30); got != "hosts      netstage/  \npasswd     \n" {
		t.Errorf("%q", got)
	}
	if got := columns(slices.Repeat([]string{"x"}, mostShown+5), 80); !strings.HasSuffix(got, "… and 5 more\n") {
		t.Errorf("%q", got)
	}
}

// Tab at a terminal.
func TestTab(t *testing.T) {
	p := at(t, t.Context())
	p.typ("cd /proc/sys/kern\t\r")
	p.see("test:/proc/sys/kernel # ")
	p.typ("args\t x\r")
	p.see(`["x"]`)
	p.typ("args osty\t\r")
	p.see(`["ostype"]`)
	p.typ("args os\t\t") // two: first to what they share, then they are shown
	p.see("osrelease  ostype")
	p.see("args os") // drawn anew
	p.typ("t\t\r")
	p.see(`["ostype"]`)
}

// A terminal's type is that of its device, whatever the environment lacks.
func TestTermOfTheTerminal(t *testing.T) {
	for tty, want := range map[string]string{"/dev/tty1": "linux", "/dev/tty0": "linux", "/dev/ttyS0": "vt220", "/dev/ttyAMA0": "vt220", "/dev/hvc0": "vt220", "": "vt220"} {
		if got := termOf(tty); got != want {
			t.Errorf("%s: %s, want %s", tty, got, want)
		}
	}
	p := at(t, t.Context())
	p.typ("echo TERM=$TERM\r")
	p.see("TERM=vt220\r\n")
}
