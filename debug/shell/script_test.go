package shell

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// sh runs the shell as a process without a terminal.
func sh(t *testing.T, stdin string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Args = append([]string{"sh"}, args...)
	cmd.Env = []string{"PATH=/bin:/usr/bin", "GORACE=atexit_sleep_ms=0"}
	cmd.Stdin = bytes.NewBufferString(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestScripts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("trap 'echo bye' EXIT\nargs \"$@\"\nexit 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "noexec")
	if err := os.WriteFile(plain, []byte("\x7fNOT"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		stdin          string
		args           []string
		stdout, stderr string
		exit           int
	}{
		"command":             {"", []string{"-c", "args a 'b c'"}, "[\"a\" \"b c\"]\n", "", 0},
		"command's arguments": {"", []string{"-c", "args $# $1 $2", "name", "x", "y"}, "[\"2\" \"x\" \"y\"]\n", "", 0},
		"status":              {"", []string{"-c", "fail 9"}, "", "", 9},
		"exit":                {"", []string{"-c", "exit 3; echo no"}, "", "", 3},
		"echo":                {"", []string{"-c", `echo -n a; echo; echo -e 'x\ty' 5%; echo -E '\t' -n; echo b >/dev/full || echo $?`}, "a\nx\ty 5%\n\\t -n\n1\n", "echo: no space left on device\n", 0},
		"a pipeline":          {"", []string{"-c", "args x | cat | cat"}, "[\"x\"]\n", "", 0},
		"a reader that goes":  {"", []string{"-c", "cat </dev/zero | true; echo done"}, "done\n", "", 0},
		"file":                {"", []string{file, "1", "2 3"}, "[\"1\" \"2 3\"]\nbye\n", "", 4},
		"no file":             {"", []string{"/nonexistent"}, "", "sh: open /nonexistent: no such file or directory\n", 127},
		"standard input":      {"args 1\nif true\nthen args 2\nfi\nexit 6\n", nil, "[\"1\"]\n[\"2\"]\n", "", 6},
		"input is shared":     {"cat\nfor cat\n", nil, "for cat\n", "", 0},
		"no newline at end":   {"args last", nil, "[\"last\"]\n", "", 0},
		"unfinished":          {"echo 'open\n", nil, "", "sh: 1:6: reached EOF without closing quote `'`\n", 2},
		"bad syntax":          {"", []string{"-c", "echo )"}, "", "sh:1:6: a command can only contain words and redirects; encountered `)`\n", 2},
		"unknown":             {"", []string{"-c", "nonsense || echo $?"}, "127\n", "sh: nonsense: not found\n", 0},
		"not executable":      {"", []string{"-c", plain}, "", "sh: " + plain + ": " + plain + ": exec format error (another architecture, or a script without #!: try sh " + plain + ")\n", 126},
		"background":          {"", []string{"-c", "args bg & wait; args after"}, "[\"bg\"]\n[\"after\"]\n", "", 0},
		"background at end":   {"", []string{"-c", "args bg &"}, "[\"bg\"]\n", "", 0},
		"nothing":             {"", nil, "", "", 0},
		"usage":               {"", []string{"-c"}, "", usage, 2},
		"variables":           {"", []string{"-c", "A=1; export B=2; C=3 env | while read l; do case $l in [ABC]=*) echo $l;; esac; done"}, "B=2\nC=3\n", "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, exit := sh(t, tt.stdin, tt.args...)
			if d := cmp.Diff([]any{tt.stdout, tt.stderr, tt.exit}, []any{stdout, stderr, exit}); d != "" {
				t.Error(d)
			}
		})
	}
}

// A command that is killed says so; status 128 and the signal.
func TestKilledCommand(t *testing.T) {
	stdout, stderr, _ := sh(t, "", "-c", "/bin/sh -c 'kill -9 $$'; echo $?")
	if stdout != "137\n" || stderr != "sh: /bin/sh: killed\n" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
}

// What echo writes is one record of the kernel log, or one command of a file in
// /sys.
func TestEchoWritesOnce(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := os.NewFile(uintptr(pair[0]), "reader"), os.NewFile(uintptr(pair[1]), "writer")
	defer reader.Close()
	cmd := exec.Command(self(t))
	cmd.Args = []string{"sh", "-c", "echo one two '' three"}
	cmd.Stdout = writer
	err = cmd.Run()
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 100)
	n, err := reader.Read(record)
	if err != nil || string(record[:n]) != "one two  three\n" {
		t.Errorf("the first record: %q, %v", record[:n], err)
	}
}
