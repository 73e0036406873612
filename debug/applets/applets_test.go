package applets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary be a utility, when started by the name of one.
func TestMain(m *testing.M) {
	if f, ok := Table(Options{})[os.Args[0]]; ok {
		os.Exit(f(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

type output struct {
	Stdout string
	Exit   int
}

// utility runs one of ours as a process in dir.
func utility(t *testing.T, dir, stdin string, args ...string) (output, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program(t, exe, dir, stdin, args...)
}

func program(t *testing.T, path, dir, stdin string, args ...string) (output, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Args = args
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin", "LC_ALL=C", "TZ=UTC", "GORACE=atexit_sleep_ms=0"}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return output{out.String(), cmd.ProcessState.ExitCode()}, errs.String()
}

// tree is a folder with one of everything.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var lines strings.Builder
	for i := range 40 {
		fmt.Fprintf(&lines, "line %d of the [file] (a+b)\n", i)
	}
	for name, text := range map[string]string{
		"lines": lines.String(), "short": "one\ntwo\nThree", "empty": "", ".hidden": "h", "dir/deep/leaf.txt": "leaf\n",
		"dir/b.txt": "b two\n", "zero": string(make([]byte, 100)) + "end\x01\xff", "dir/-odd": "odd",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Symlink("dir/deep", filepath.Join(dir, "link")), os.Symlink("nowhere", filepath.Join(dir, "broken")),
		os.Chmod(filepath.Join(dir, "short"), 0o750|os.ModeSetuid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What can be compared with the real utility is the same, byte for byte.
func TestLikeTheRealOnes(t *testing.T) {
	dir := tree(t)
	for _, tt := range []struct {
		stdin string
		line  string
	}{
		{"", "cat lines short"}, {"in\n", "cat"}, {"in\n", "cat short - empty"}, {"", "cat nosuch lines"},
		{"", "head lines"}, {"", "head -n 3 lines short"}, {"", "head -c 7 lines"}, {"a\nb\nc\n", "head -n 2"}, {"", "head -n2 short"},
		{"", "tail lines"}, {"", "tail -n 3 lines short"}, {"a\nb\nc", "tail -n 2"}, {"", "tail -n 0 lines"}, {"", "head nosuch"},
		{"", "grep two short"}, {"", "grep -n o short dir/b.txt"}, {"", "grep -i three short"}, {"", "grep -v o short"}, {"", "grep -c line lines short"},
		{"", "grep -q two short"}, {"", "grep nothing short"}, {"", "grep -F (a+b) lines"}, {"", "grep (a+b) lines"}, {"", "grep -E [0-9]{2}.*(a|b) lines"},
		{"", "grep -r leaf dir"}, {"", "grep x nosuch"}, {"", `grep \(one\|two\) short`}, {"", "grep [[] lines"}, {"x\ny\n", "grep y -"},
		{"", "ls"}, {"", "ls -a"}, {"", "ls dir link nosuch"}, {"", "ls -d dir"}, {"", "ls -R dir"}, {"", "ls -1 short lines"}, {"", "ls -r"},
		{"", "ls -ln short"}, {"", "ls -lnd link broken dir"},
		{"", "hexdump -C zero"}, {"", "hexdump -C -n 20 lines"}, {"", "hexdump -C -s 90 zero"}, {"", "hexdump -C empty"}, {"abc", "hexdump -C"},
		{"", "find dir -name *.txt"}, {"", "find dir -type d"}, {"", "find nosuch"}, {"", "find . -maxdepth 1 -type l"},
		{"", "uname -srm"}, {"", "uname"}, {"", "uname -r"},
		{"", "sleep 0.01"}, {"", "env A=1 printenv A"}, {"", "env -- sh -c exit\\ 3"},
		{"", "chroot / true"}, {"", "kill -0 1"}, {"", "mount"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			args := strings.Fields(tt.line)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], `\ `, " ")
			}
			path, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("the real %s is not here to compare with", args[0])
			}
			got, stderr := utility(t, dir, tt.stdin, args...)
			if args[0] == "ls" && args[1:] != nil && strings.HasPrefix(tt.line, "ls -ln") {
				args[1] = "-g" + args[1][1:] // numbers, and group
				args[1] = strings.Replace(args[1], "-gln", "-ln", 1)
			}
			want, _ := program(t, path, dir, tt.stdin, args...)
			if args[0] == "find" { // the order is the file system's there
				want.Stdout, got.Stdout = sorted(want.Stdout), sorted(got.Stdout)
			}
			if args[0] == "mount" { // another format there, too
				want.Stdout = fmt.Sprint(strings.Count(want.Stdout, "\n"))
				got.Stdout = fmt.Sprint(strings.Count(got.Stdout, "\n"))
			}
			if args[0] == "ls" && want.Exit == 2 {
				want.Exit = 1 // 2 is for wrong usage here
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s\nstderr: %s", d, stderr)
			}
		})
	}
}

func sorted(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		for j := i + 1; j < len(lines); j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "\n")
}

// manifest describes a tree: every path with mode, size and link.
func manifest(t *testing.T, dir string) []string {
	t.Helper()
	out, _ := program(t, "/usr/bin/find", dir, "", "find", ".", "-printf", `%P %M %s %l %T@\n`)
	return strings.Split(sorted(out.Stdout), "\n")
}

func TestCopyingTrees(t *testing.T) {
	dir := tree(t)
	if got, stderr := utility(t, dir, "", "cp", "-a", ".", "../copy-"+filepath.Base(dir)); got.Exit != 0 {
		t.Fatal(stderr)
	}
	copied := filepath.Join(filepath.Dir(dir), "copy-"+filepath.Base(dir))
	t.Cleanup(func() { _ = os.RemoveAll(copied) })
	if d := cmp.Diff(manifest(t, dir), manifest(t, copied)); d != "" {
		t.Errorf("cp -a: %s", d)
	}
	for _, bad := range [][]string{{"cp", "dir", "dir2"}, {"cp", "-r", "dir", "dir/deep"}, {"cp", "short", "short"}, {"cp", "nosuch", "x"}, {"rm", "dir"}, {"rm", "nosuch"}, {"rm", "-rf", "/"}, {"mv", "a", "b"}} {
		if got, stderr := utility(t, dir, "", bad...); got.Exit != 1 || !strings.HasPrefix(stderr, bad[0]+": ") {
			t.Errorf("%q: status %d, %q", bad, got.Exit, stderr)
		}
	}
	for _, good := range [][]string{
		{"cp", "short", "lines", "dir"}, {"mv", "short", "moved"}, {"mv", "moved", "lines", "dir"}, {"mkdir", "-p", "a/b/c", "a/b"},
		{"mkdir", "-m", "700", "private"}, {"ln", "-s", "target", "sym"}, {"ln", "-sf", "other", "sym"}, {"ln", "empty", "hard"}, {"rm", "-f", "nosuch", "broken"}, {"rm", "-r", "link", "a"},
	} {
		if got, stderr := utility(t, dir, "", good...); got.Exit != 0 || stderr != "" {
			t.Errorf("%q: status %d, %q", good, got.Exit, stderr)
		}
	}
	got, _ := utility(t, dir, "", "find", ".")
	want := ".\n./.hidden\n./dir\n./dir/-odd\n./dir/b.txt\n./dir/deep\n./dir/deep/leaf.txt\n./dir/lines\n./dir/moved\n./dir/short\n./empty\n./hard\n./private\n./sym\n./zero\n"
	if d := cmp.Diff(want, got.Stdout); d != "" {
		t.Error(d)
	}
	if target, err := os.Readlink(filepath.Join(dir, "sym")); err != nil || target != "other" {
		t.Errorf("sym -> %q, %v", target, err)
	}
}

// Every utility explains itself, and a wrong use ends with 2 and one line of
// usage.
func TestHelpAndUsage(t *testing.T) {
	table := Table(Options{
		Wget:  func(context.Context, string, io.Writer) error { return nil },
		Extra: map[string]Func{"ip": func(context.Context, []string, io.Reader, io.Writer, io.Writer) int { return 42 }},
	})
	var list bytes.Buffer
	if exit := table["help"](t.Context(), []string{"help"}, nil, &list, io.Discard); exit != 0 {
		t.Fatalf("help: status %d", exit)
	}
	for name, f := range table {
		if !strings.Contains(list.String(), " "+name+" ") && !strings.Contains(list.String(), " "+name+"\n") {
			t.Errorf("help doesn't list %s", name)
		}
		if name == "ip" {
			if got := f(t.Context(), nil, nil, nil, nil); got != 42 {
				t.Errorf("ip is not the one that was given: %d", got)
			}
			continue
		}
		var out, errs bytes.Buffer
		if exit := f(t.Context(), []string{name, "--help"}, strings.NewReader(""), &out, &errs); exit != 0 || !strings.HasPrefix(out.String(), "usage: "+name) {
			t.Errorf("%s --help: status %d, %q", name, exit, out.String())
		}
		out.Reset()
		exit := f(t.Context(), []string{name, "-Z"}, strings.NewReader(""), &out, &errs)
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if exit != 2 || len(lines) != 2 || !strings.HasPrefix(lines[1], "usage: "+name) {
			t.Errorf("%s -Z: status %d, %q", name, exit, errs.String())
		}
	}
}

func TestWget(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	wget := Table(Options{Wget: func(_ context.Context, url string, w io.Writer) error {
		if strings.Contains(url, "bad") {
			return errors.New("GET " + url + ": refused")
		}
		_, err := io.WriteString(w, "got "+url)
		return err
	}})["wget"]
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		exit := wget(t.Context(), append([]string{"wget"}, args...), nil, &out, &errs)
		return exit, out.String(), errs.String()
	}
	if exit, out, _ := run("-O", "-", "http://h/x"); exit != 0 || out != "got http://h/x" {
		t.Errorf("-O -: %d %q", exit, out)
	}
	for url, name := range map[string]string{"http://h/a/b.img?x=/y": "b.img", "http://h": "index.html", "http://h/d/": "index.html"} {
		if exit, _, errs := run(url); exit != 0 || !strings.HasPrefix(errs, name+": ") {
			t.Errorf("%s: %d %q", url, exit, errs)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != "got "+url {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if exit, _, errs := run("http://bad/"); exit != 1 || errs != "wget: GET http://bad/: refused\n" {
		t.Errorf("a failure: %d %q", exit, errs)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (a) b) (c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8 10 20 30")
	f.Fuzz(func(t *testing.T, s string) { parseStat(s) })
}

func FuzzOptions(f *testing.F) {
	f.Add("an:", "-an5\x00-n\x00-x\x00--\x00y")
	f.Fuzz(func(t *testing.T, spec, args string) {
		list := strings.Split(args, "\x00")
		_, rest, err := options(spec, list)
		if err == nil && len(rest) > len(list) {
			t.Errorf("%q %q: %q", spec, list, rest)
		}
	})
}
