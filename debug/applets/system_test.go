package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// script runs a shell script in which a word after a comma is one of our
// utilities (and @ is a comma), in a mount namespace of its own.
func script(t *testing.T, text string) (stdout, stderr string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer(",", "run ", "@", ",", "EXE", exe)
	cmd := exec.Command("/bin/bash", "-eu", "-c", "mount --make-rprivate /\nrun() { n=$1; shift; (exec -a \"$n\" "+exe+" \"$@\"); }\n"+replace.Replace(text))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

func TestMountAndUmount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	out, _ := script(t, `
mkdir m b
,mount -t tmpfs -o size=1m@nosuid@nodev src m
echo hello >m/file
,mount | ,grep "$PWD/m" | cut -d' ' -f1@3@4
,mount -o bind@ro m b
cat b/file
(echo no >b/file) 2>/dev/null || echo read-only
,df "$PWD/m" | ,tail -n 1 | ,grep -c "$PWD/m"
cd m; ,umount ../b; ,umount ../m 2>../busy || ,grep -c 'in use' ../busy
,umount -l ../m; cd ..
ls m b
`)
	want := "src tmpfs rw,nosuid,nodev,relatime,size=1024k"
	lines := strings.Split(out, "\n")
	if len(lines) < 6 || !strings.HasPrefix(lines[0], want) {
		t.Fatalf("mounted as %q, want %q…", out, want)
	}
	if got, want := strings.Join(lines[1:], "\n"), "hello\nread-only\n1\n1\nb:\n\nm:\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMountLoop(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("mksquashfs is missing")
	}
	out, _ := script(t, `
mkdir src m; echo inside >src/file
mksquashfs src img -quiet -no-progress >/dev/null
,mount -o loop@ro img m
cat m/file
,umount m
`)
	if out != "inside\n" {
		t.Errorf("got %q", out)
	}
}

func TestKillAndPs(t *testing.T) {
	out, _ := script(t, `
sleep 100 & pid=$!
,ps | ,grep -E "^ +$pid .* sleep 100$" | ,grep -c .
,kill -KILL $pid
wait $pid || echo $?
sleep 100 & pid=$!
,kill $pid
wait $pid || echo $?
,kill -9 nonsense 2>/dev/null || echo $?
`)
	if out != "1\n137\n143\n1\n" {
		t.Errorf("got %q", out)
	}
}

func TestTailFollows(t *testing.T) {
	out, _ := script(t, `
printf '1\n2\n3\n' >log
mkfifo pipe
(exec -a tail EXE -f -n 1 log) >pipe & pid=$!
exec 3<pipe
read -r a <&3; echo $a
echo 4 >>log
read -r a <&3; echo $a
kill $pid
`)
	if out != "3\n4\n" {
		t.Errorf("got %q", out)
	}
}

func TestDmesg(t *testing.T) {
	if err := unix.Access("/dev/kmsg", unix.R_OK); err != nil {
		t.Skipf("the kernel log is not readable here: %v", err)
	}
	got, stderr := utility(t, "/", "", "dmesg")
	if got.Exit != 0 || stderr != "" {
		t.Errorf("status %d, %s", got.Exit, stderr)
	}
	for _, bad := range [][]string{{"dmesg", "-n", "9"}, {"dmesg", "-n", "x"}, {"dmesg", "-l", "0"}} {
		if got, _ := utility(t, "/", "", bad...); got.Exit != 2 {
			t.Errorf("%q: status %d", bad, got.Exit)
		}
	}
}

func TestFree(t *testing.T) {
	got, _ := utility(t, "/", "", "free", "-m")
	if !strings.HasPrefix(got.Stdout, "MiB ") || strings.Count(got.Stdout, "\n") != 3 {
		t.Errorf("got %q", got.Stdout)
	}
	m := parseMeminfo("MemTotal:       24 kB\nHugePages_Total:   3\nBad\n")
	if m["MemTotal"] != 24 || m["HugePages_Total"] != 3 || len(m) != 2 {
		t.Errorf("parsed %v", m)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts("a /x\\040y tmpfs rw 0 0\nbad\n")
	if len(got) != 1 || got[0] != [2]string{"a", "/x y"} {
		t.Errorf("got %q", got)
	}
}

// A process's name may look like the end of the field.
func TestParseStat(t *testing.T) {
	p, ok := parseStat("7 (a) (b) R 1 7 7 1025 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 8 4096 33 0")
	if !ok || p.pid != 7 || p.name != "a) (b" || p.state != 'R' || p.ppid != 1 || p.ticks != 200 || p.rss != 33 {
		t.Errorf("%+v %v", p, ok)
	}
}

func TestPowerRefusesOperands(t *testing.T) {
	for _, name := range []string{"reboot", "poweroff"} {
		if got, _ := utility(t, filepath.Dir("/"), "", name, "now"); got.Exit != 2 {
			t.Errorf("%s now: status %d", name, got.Exit)
		}
	}
}
